#!/usr/bin/env bash
# Runs tests of Armor.Runtime on a 64-bit Arm processor, emulated by QEMU: all kernels, or the tests whose full names match a regular expression.
# Needs Debian's or Ubuntu's qemu-user-static. The C library comes from the distribution's packages, into artifacts/arm; nothing is installed.
#
#   tests/run-on-arm.sh
#   tests/run-on-arm.sh 'LayersOfRealAndAwkwardShapes'
#   DOTNET_JitDisasm='One Four' DOTNET_JitStdOutFile=/tmp/arm.asm tests/run-on-arm.sh 'CpuBackendTests\(Vector128,1\).*AnyLayer'
set -euo pipefail
cd "$(dirname "$0")/.."
pattern=${1:-'CpuBackendTests\(Vector128,|SparseDotProductTests|TilePackerTests'}
folder=$PWD/artifacts/arm

if ! command -v qemu-aarch64-static >/dev/null; then
  echo "qemu-aarch64-static is needed: apt-get install qemu-user-static" >&2
  exit 2
fi

if [ ! -e "$folder/sysroot/lib/ld-linux-aarch64.so.1" ]; then
  mkdir -p "$folder/apt/lists/partial" "$folder/apt/cache/archives/partial"
  apt=(apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State::Lists="$folder/apt/lists" -o Dir::Cache="$folder/apt/cache"
    -o Dir::State::Status=/dev/null -o APT::Sandbox::User="$(id -un)")
  "${apt[@]}" update
  (cd "$folder/apt" && "${apt[@]}" download libc6 libgcc-s1 libstdc++6)
  for package in "$folder"/apt/*.deb; do
    dpkg -x "$package" "$folder/sysroot"
  done
fi

dotnet publish tests/Armor.Runtime.Tests -c Release -r linux-arm64 --self-contained -p:UseAppHost=true -o "$folder/tests" -v q

# The emulator maps neither a page twice nor as much memory as the collector reserves.
export DOTNET_EnableWriteXorExecute=0 DOTNET_GCHeapHardLimit=0x40000000
exec qemu-aarch64-static -L "$folder/sysroot" "$folder/tests/Armor.Runtime.Tests" "$pattern"
