using System.Runtime.InteropServices;

namespace Armor.Cuda.Kernels;

/// <summary>ProductArguments of product.cu, field by field.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct ProductArguments
{
    public nint Weight;
    public nint Input;
    public nint Wrapper;
    public nint Partials;
    public nint Tickets;
    public nint Output;
    public int Rows;
    public int RowTiles;
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
    public nint Wrapper;
    public nint Input;
    public nint Output;
    public int Columns;
    public int Steps;
    public int Batch;
    public int WrapperSteps;
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
