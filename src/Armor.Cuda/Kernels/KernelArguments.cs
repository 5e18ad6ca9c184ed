using System.Runtime.InteropServices;

namespace Armor.Cuda.Kernels;

/// <summary>ProductPart of parts.cuh, field by field.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct ProductPart
{
    public nint Weight;
    public nint Wrapper;
    public nint Output;
    public int Rows;
    public int FirstBlock;
}

/// <summary>ProductArguments of parts.cuh.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct ProductArguments
{
    public ProductPart First;
    public ProductPart Second;
    public ProductPart Third;
    public nint Input;
    public ulong InputStride;
    public nint Partials;
    public nint Tickets;
    public nint Experts;
    public nint Active;
    public nint Squares;
    public nint Bias;
    public int Chunks;
    public int Splits;
    public int Batch;
    public int StrideShift;
    public int WrapperSteps;
}

/// <summary>InputArguments of input.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct InputArguments
{
    public nint FirstWrapper;
    public nint SecondWrapper;
    public nint ThirdWrapper;
    public nint Input;
    public nint Up;
    public nint GateBias;
    public nint UpBias;
    public nint Norm;
    public nint Squares;
    public nint Eights;
    public nint Slots;
    public nint ExpertWrappers;
    public nint Output;
    public ulong OutputStride;
    public int Columns;
    public int Steps;
    public int Batch;
    public int WrapperSteps;
    public int IsGelu;
    public int SquareBlocks;
    public float Epsilon;
}

/// <summary>RowArguments of rows.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct RowArguments
{
    public nint Values;
    public nint Offsets;
    public nint Input;
    public nint Output;
    public int Rows;
    public int Columns;
    public int Kept;
    public int GroupKept;
    public int Group;
    public int Block;
    public int Batch;
}

/// <summary>ExpandArguments of expand.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct ExpandArguments
{
    public nint Weight;
    public nint Output;
    public int Rows;
    public int Columns;
    public int Chunks;
}

/// <summary>ConvertArguments of expand.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct ConvertArguments
{
    public nint Input;
    public nint Output;
    public ulong Count;
    public ulong Padded;
}
