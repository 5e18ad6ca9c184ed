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

/// <summary>Every kernel, with its arguments.</summary>
internal static class KernelNames
{
    public const string RowsDense = "armor_rows_dense";
    public const string RowsSparse = "armor_rows_sparse";
    public const string RowsBlocks = "armor_rows_blocks";
    public const string ExpandFragments = "armor_expand_fragments";

    /// <summary>Names and the structures that they take, as C++ calls those.</summary>
    public static IEnumerable<(string Name, string Arguments)> All
    {
        get
        {
            foreach (var type in new[] { "bf16", "f16" })
            {
                foreach (var form in new[] { "sparse", "int8", "dense" })
                {
                    yield return (Product(form, type, 8), nameof(ProductArguments));
                    yield return (Product(form, type, 16), nameof(ProductArguments));
                }

                yield return (Input(type), nameof(InputArguments));
                yield return (Arrange(type), nameof(InputArguments));
                yield return (Expand("sparse", type), nameof(ExpandArguments));
                yield return (Expand("int8", type), nameof(ExpandArguments));
                yield return (Narrow(type), nameof(ConvertArguments));
                yield return (Widen(type), nameof(ConvertArguments));
            }

            yield return (RowsDense, nameof(RowArguments));
            yield return (RowsSparse, nameof(RowArguments));
            yield return (RowsBlocks, nameof(RowArguments));
            yield return (ExpandFragments, nameof(ExpandArguments));
        }
    }

    public static string Product(string form, string type, int inputs) => $"armor_{form}_{type}_{inputs}";

    public static string Input(string type) => $"armor_input_{type}";

    public static string Expand(string form, string type) => $"armor_expand_{form}_{type}";

    public static string Narrow(string type) => $"armor_narrow_{type}";

    public static string Widen(string type) => $"armor_widen_{type}";

    public static string Arrange(string type) => $"armor_arrange_{type}";
}
