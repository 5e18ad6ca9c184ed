using Armor.Runtime.Checkpoints;

namespace Armor.Core.Pruning;

/// <summary>What pruning a model came to.</summary>
/// <param name="Linears">Every pruned linear, in the order of the forward pass.</param>
/// <param name="Seconds">Wall time of this run; a resumed run counts only its own part.</param>
public sealed record ModelPruningReport(IReadOnlyList<LinearPruningReport> Linears, double Seconds)
{
    /// <summary>The linears with <see cref="LinearPruningReport.Notes"/>: those that needed more damping or a fall-back, or were fed unusual input.</summary>
    public IEnumerable<LinearPruningReport> Noted => Linears.Where(linear => linear.Notes.Count > 0);

    /// <summary>The type that wrappers are stored in.</summary>
    public required TensorElementType Storage { get; init; }

    /// <summary>The type that kept values are stored in: <see cref="Storage"/> or I8.</summary>
    public required TensorElementType CoreStorage { get; init; }

    /// <summary>Bytes of the pruned linears on disk: core values with their scales, core mask and wrappers, without biases.</summary>
    public long Bytes => Linears.Sum(linear => linear.Bytes);

    /// <summary>Bytes of the same weights stored densely in bfloat16: 2 a weight, also where the source is float32.</summary>
    public long DenseBytes => Linears.Sum(linear => linear.DenseBytes);
}

/// <summary>What pruning one linear came to.</summary>
public sealed record LinearPruningReport
{
    /// <summary>The linear, such as <c>model.layers.3.mlp.down_proj</c>.</summary>
    public required string Name { get; init; }

    /// <summary>d_out.</summary>
    public required int Rows { get; init; }

    /// <summary>d_in.</summary>
    public required int Columns { get; init; }

    /// <summary>Block size of the output wrapper A; 1 where A is the identity.</summary>
    public required int OutputBlock { get; init; }

    /// <summary>Block size of the input wrapper B; 1 where B is the identity.</summary>
    public required int InputBlock { get; init; }

    /// <summary>The loss that was reached, in the unit of the method.</summary>
    public required double Loss { get; init; }

    /// <summary>The loss that the optimisation started from, in the same unit.</summary>
    public required double StartLoss { get; init; }

    /// <summary>Wall time of the optimisation; where the linear was taken over from an earlier run, that run's.</summary>
    public required double Seconds { get; init; }

    /// <summary>Bytes on disk: core values with their scales, core mask and wrappers.</summary>
    public required long Bytes { get; init; }

    /// <summary>Anything out of the ordinary, such as raised damping or a fall-back; as a rule empty.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];

    /// <summary>Bytes of the weight stored densely in bfloat16: 2 a weight.</summary>
    public long DenseBytes => 2L * Rows * Columns;
}
