using Armor.Runtime.Checkpoints;
using TorchSharp;

namespace Armor.Benchmarks.Kernels;

/// <summary>Who is compared.</summary>
/// <param name="Kernel">Whose product it is, and by what.</param>
/// <param name="Type">The type of the weight's values.</param>
/// <param name="Make">Makes one for a weight and a number of threads.</param>
internal sealed record ContestantKind(string Kernel, string Type, Func<KernelCase, int, Contestant> Make)
{
    private const string Single = "float32";
    private const string BFloat = "bfloat16";
    private const string Int8 = "int8";
    private const int CheckedBatch = 5;

    public static ContestantKind TorchSingle { get; } =
        new("TorchSharp linear", Single, (weight, threads) => new TorchContestant(weight, torch.ScalarType.Float32, threads));

    public static ContestantKind TorchBFloat { get; } =
        new("TorchSharp linear", BFloat, (weight, threads) => new TorchContestant(weight, torch.ScalarType.BFloat16, threads));

    public static ContestantKind OnnxRuntime { get; } =
        new("ONNX Runtime MatMul", Single, (weight, threads) => new OnnxRuntimeContestant(weight, threads));

    public static ContestantKind TensorPrimitives { get; } =
        new("System.Numerics.Tensors", Single, (weight, threads) => new TensorPrimitivesContestant(weight, threads));

    public static ContestantKind DenseSingle { get; } =
        new("Armor dense", Single, (weight, threads) => ArmorContestant.Dense(weight, TensorElementType.Float32, threads));

    public static ContestantKind DenseBFloat { get; } =
        new("Armor dense", BFloat, (weight, threads) => ArmorContestant.Dense(weight, TensorElementType.BFloat16, threads));

    public static ContestantKind DenseInt8 { get; } =
        new("Armor dense", Int8, (weight, threads) => ArmorContestant.Dense(weight, TensorElementType.Int8, threads));

    public static ContestantKind CoreSingle { get; } =
        new("Armor 2:4", Single, (weight, threads) => ArmorContestant.Core(weight, TensorElementType.Float32, threads));

    public static ContestantKind CoreBFloat { get; } =
        new("Armor 2:4", BFloat, (weight, threads) => ArmorContestant.Core(weight, TensorElementType.BFloat16, threads));

    public static ContestantKind CoreInt8 { get; } =
        new("Armor 2:4", Int8, (weight, threads) => ArmorContestant.Core(weight, TensorElementType.Int8, threads));

    public static ContestantKind LayerSingle { get; } =
        new("Armor layer", Single, (weight, threads) => ArmorContestant.Layer(weight, TensorElementType.Float32, threads));

    public static ContestantKind LayerBFloat { get; } =
        new("Armor layer", BFloat, (weight, threads) => ArmorContestant.Layer(weight, TensorElementType.BFloat16, threads));

    public static ContestantKind LayerInt8 { get; } =
        new("Armor layer", Int8, (weight, threads) => ArmorContestant.Layer(weight, TensorElementType.Int8, threads));

    public static ContestantKind LayerBFloatInt8Wrappers { get; } = new(
        "Armor layer, int8 wrappers", BFloat, (weight, threads) => ArmorContestant.Layer(weight, TensorElementType.BFloat16, threads, TensorElementType.Int8));

    public static ContestantKind LayerInt8Int8Wrappers { get; } = new(
        "Armor layer, int8 wrappers", Int8, (weight, threads) => ArmorContestant.Layer(weight, TensorElementType.Int8, threads, TensorElementType.Int8));

    /// <summary>All of them.</summary>
    public static IReadOnlyList<ContestantKind> All { get; } =
    [
        TorchSingle, TorchBFloat, OnnxRuntime, TensorPrimitives, DenseSingle, DenseBFloat, DenseInt8, CoreSingle, CoreBFloat, CoreInt8,
        LayerSingle, LayerBFloat, LayerInt8, LayerBFloatInt8Wrappers, LayerInt8Int8Wrappers,
    ];

    public string Name => $"{Kernel} {Type}";

    /// <summary>What rounding to the type costs at most, as a share of the mean square.</summary>
    private double Tolerance => (Type, HasInt8Wrappers) switch { (Single, _) => 1e-10, (BFloat, false) => 2e-5, _ => 5e-4 };

    private bool HasInt8Wrappers => this == LayerBFloatInt8Wrappers || this == LayerInt8Int8Wrappers;

    private bool IsLayer => this == LayerSingle || this == LayerBFloat || this == LayerInt8 || HasInt8Wrappers;

    /// <summary>Makes everybody who is to take part, after checking that all of them compute the product, within what their types allow.</summary>
    public static Dictionary<ContestantKind, Contestant> MakeAll(IEnumerable<ContestantKind> kinds, KernelCase weight, int threads)
    {
        float[] input = weight.Values(CheckedBatch * weight.Columns);
        float[] core = weight.Reference(wholeLayer: false, input, CheckedBatch);
        float[] layer = weight.Reference(wholeLayer: true, input, CheckedBatch);
        var contestants = new Dictionary<ContestantKind, Contestant>();
        foreach (ContestantKind kind in kinds)
        {
            Contestant contestant = kind.Make(weight, threads);
            contestants.Add(kind, contestant);
            contestant.Begin(input, CheckedBatch);
            contestant.Multiply(contestant.Copies - 1);
            double error = Error(contestant.Output(), kind.IsLayer ? layer : core);
            if (!(error <= kind.Tolerance))
            {
                throw new InvalidOperationException($"{kind.Name} computes something else: a normalised mean square error of {error:g3}.");
            }
        }

        return contestants;
    }

    private static double Error(float[] found, float[] expected) =>
        found.Zip(expected, (one, other) => Math.Pow((double)one - other, 2)).Sum() / expected.Sum(value => (double)value * value);
}
