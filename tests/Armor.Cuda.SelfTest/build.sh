#!/usr/bin/env bash
# One native file for a Linux machine with a card: artifacts/cuda-selftest/Armor.Cuda.SelfTest
exec dotnet publish "$(dirname "$0")/Armor.Cuda.SelfTest.csproj" -c Release -r linux-x64 -o "$(dirname "$0")/../../artifacts/cuda-selftest" "$@"
