using System.Runtime.InteropServices;

namespace Armor.Cuda.Kernels;

/// <summary>Selected of slots.cuh: a row and a weight.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct ExpertRow
{
    public int Row;
    public float Weight;
}

/// <summary>ActiveExpert and ExpertEight of slots.cuh, which only the card looks into: sixteen bytes each.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct ExpertShare
{
    public int Expert;
    public int FirstSlot;
    public int Count;
    public int FirstEight;
}

/// <summary>ExpertWeight of slots.cuh.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct ExpertWeight
{
    public nint Weight;
    public nint Wrapper;
}

/// <summary>ChooseArguments of experts.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct ChooseArguments
{
    public nint Scores;
    public nint Chosen;
    public nint Places;
    public nint Slots;
    public nint Active;
    public nint Eights;
    public int Rows;
    public int Experts;
    public int PerToken;
    public int MostActive;
    public int MostEights;
    public int IsNormalised;
}

/// <summary>CombineArguments of experts.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct CombineArguments
{
    public nint Places;
    public nint From;
    public nint To;
    public int PerToken;
    public int Size;
}

/// <summary>SelectArguments of experts.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct SelectArguments
{
    public nint Selected;
    public nint From;
    public nint Bias;
    public nint To;
    public int Size;
    public int IsAdded;
}
