using System.Runtime.CompilerServices;

namespace Armor.Cuda.Kernels;

/// <summary>A kernel.</summary>
/// <param name="Name">As the driver knows it.</param>
/// <param name="Arguments">The structure that it takes, as C++ calls it.</param>
/// <param name="Bytes">The structure's size.</param>
internal readonly record struct KernelDescription(string Name, string Arguments, int Bytes);

/// <summary>Every kernel, with its arguments.</summary>
internal static class KernelNames
{
    public const string RowsDense = "armor_rows_dense";
    public const string RowsSparse = "armor_rows_sparse";
    public const string RowsBlocks = "armor_rows_blocks";
    public const string ExpandFragments = "armor_expand_fragments";
    public const string EmbedRows = "armor_embed_rows";
    public const string Norm = "armor_norm";
    public const string Gate = "armor_gate";
    public const string Logits = "armor_logits";
    public const string Select = "armor_select";
    public const string Choose = "armor_choose";
    public const string Combine = "armor_combine";

    /// <summary>All of them.</summary>
    public static IReadOnlyList<KernelDescription> All { get; } = [.. Describe()];

    public static string Product(string form, string type, int inputs) => $"armor_{form}_{type}_{inputs}";

    public static string Input(string type) => $"armor_input_{type}";

    public static string Expand(string form, string type) => $"armor_expand_{form}_{type}";

    public static string Narrow(string type) => $"armor_narrow_{type}";

    public static string Widen(string type) => $"armor_widen_{type}";

    public static string Arrange(string type) => $"armor_arrange_{type}";

    public static string Embed(string type) => $"armor_embed_{type}";

    /// <param name="cacheBits">Of a key's or value's element: 16 or 32.</param>
    public static string Heads(int cacheBits) => $"armor_heads_{cacheBits}";

    /// <param name="cacheBits">Of a key's or value's element: 16 or 32.</param>
    /// <param name="queries">Of a block of threads: 1, 4 or 8.</param>
    public static string Attention(int cacheBits, int queries) => $"armor_attention_{cacheBits}_{queries}";

    /// <param name="most">The largest head: 128 or 256.</param>
    public static string AttentionOfPrompt(int most) => $"armor_attention_prompt_{most}";

    private static IEnumerable<KernelDescription> Describe()
    {
        foreach (var type in new[] { "bf16", "f16" })
        {
            foreach (var form in new[] { "sparse", "int8", "dense" })
            {
                yield return Taking<ProductArguments>(Product(form, type, 8));
                yield return Taking<ProductArguments>(Product(form, type, 16));
                yield return Taking<ProductArguments>(Product(form, type, 64));
            }

            yield return Taking<InputArguments>(Input(type));
            yield return Taking<InputArguments>(Arrange(type));
            yield return Taking<ExpandArguments>(Expand("sparse", type));
            yield return Taking<ExpandArguments>(Expand("int8", type));
            yield return Taking<ConvertArguments>(Narrow(type));
            yield return Taking<ConvertArguments>(Widen(type));
            yield return Taking<EmbedArguments>(Embed(type));
        }

        yield return Taking<RowArguments>(RowsDense);
        yield return Taking<RowArguments>(RowsSparse);
        yield return Taking<RowArguments>(RowsBlocks);
        yield return Taking<ExpandArguments>(ExpandFragments);
        yield return Taking<EmbedArguments>(EmbedRows);
        yield return Taking<NormArguments>(Norm);
        yield return Taking<GateArguments>(Gate);
        yield return Taking<LogitArguments>(Logits);
        yield return Taking<SelectArguments>(Select);
        yield return Taking<ChooseArguments>(Choose);
        yield return Taking<CombineArguments>(Combine);
        yield return Taking<AttentionArguments>(AttentionOfPrompt(128));
        yield return Taking<AttentionArguments>(AttentionOfPrompt(256));
        foreach (var bits in new[] { 16, 32 })
        {
            yield return Taking<HeadArguments>(Heads(bits));
            foreach (var queries in new[] { 1, 4, 8 })
            {
                yield return Taking<AttentionArguments>(Attention(bits, queries));
            }
        }
    }

    private static KernelDescription Taking<T>(string name)
        where T : unmanaged
        => new(name, typeof(T).Name, Unsafe.SizeOf<T>());
}
