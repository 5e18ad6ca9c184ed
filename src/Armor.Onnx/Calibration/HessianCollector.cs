using Armor.Core.Calibration;
using Armor.Onnx.Files;
using Armor.Onnx.Pruning;
using Armor.Onnx.Running;
using Microsoft.ML.OnnxRuntime;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Onnx.Calibration;

/// <summary>The weights that have all their inputs in common, and so one Hessian.</summary>
/// <param name="Inputs">The values that they multiply, each with whether it is transposed first.</param>
/// <param name="Weights">The weights.</param>
internal sealed record InputGroup(IReadOnlyList<(string Value, bool IsTransposed)> Inputs, IReadOnlyList<PrunableWeight> Weights)
{
    /// <summary>d_in.</summary>
    public int Columns => Weights[0].Columns;

    /// <summary>Bytes of what is collected for it.</summary>
    /// <param name="isCross">Whether with the cross moment.</param>
    public long Bytes(bool isCross) => (long)Columns * Columns * (Columns > 4096 ? sizeof(float) : sizeof(double)) * (isCross ? 2 : 1);

    /// <summary>The groups of some weights, in their order.</summary>
    public static IReadOnlyList<InputGroup> Of(IEnumerable<PrunableWeight> weights) =>
    [
        .. weights.Select(weight => (Weight: weight, Inputs: weight.Uses.Select(use => (use.Input, use.TransposesInput)).Distinct().ToArray()))
            .GroupBy(pair => string.Join('\n', pair.Inputs.Order()), StringComparer.Ordinal)
            .Select(group => new InputGroup(group.First().Inputs, [.. group.Select(pair => pair.Weight)])),
    ];
}

/// <summary>Collects the moments of weights' inputs by running a model, or two of them side by side.</summary>
internal static class HessianCollector
{
    /// <summary>Statistics of each group, and the rank that its first weight's input had.</summary>
    /// <param name="groups">What to collect for.</param>
    /// <param name="model">Whose activations.</param>
    /// <param name="dense">The dense model, whose activations make the cross moment; null for none.</param>
    /// <param name="batches">The calibration inputs.</param>
    /// <param name="ranks">Gets the number of dimensions of every input; −1 where it differs from run to run.</param>
    /// <param name="options">How to run the models.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    public static IReadOnlyList<ActivationStatistics> Collect(
        IReadOnlyList<InputGroup> groups,
        OnnxFile model,
        OnnxFile? dense,
        IEnumerable<IReadOnlyCollection<NamedOnnxValue>> batches,
        Dictionary<string, int> ranks,
        OnnxRuntimeOptions options,
        CancellationToken cancellationToken)
    {
        string[] values = [.. groups.SelectMany(group => group.Inputs).Select(input => input.Value).Distinct()];
        ActivationMoments moments = dense is null ? ActivationMoments.Hessian : ActivationMoments.Hessian | ActivationMoments.CrossMoment;
        ActivationAccumulator[] sums = [.. groups.Select(group => new ActivationAccumulator(group.Weights[0].Name, group.Columns, moments))];
        try
        {
            using var session = new CalibrationSession(model, values, options);
            using CalibrationSession? denseSession = dense is null ? null : new CalibrationSession(dense, values, options);
            foreach (IReadOnlyCollection<NamedOnnxValue> batch in batches)
            {
                cancellationToken.ThrowIfCancellationRequested();
                using var scope = NewDisposeScope();
                Dictionary<string, Tensor> found = Run(session, batch);
                Dictionary<string, Tensor>? denseFound = denseSession is null ? null : Run(denseSession, batch);
                foreach ((InputGroup group, ActivationAccumulator sum) in groups.Zip(sums))
                {
                    foreach ((string value, bool isTransposed) in group.Inputs)
                    {
                        sum.Add(Rows(found[value], isTransposed), denseFound is null ? null : Rows(denseFound[value], isTransposed));
                    }
                }
            }

            if (sums[0].TokenCount == 0)
            {
                throw new CalibrationException("Calibration needs inputs of the model; found none.");
            }

            return [.. sums.Select(Means)];
        }
        finally
        {
            Array.ForEach(sums, sum => sum.Dispose());
        }

        // One by one: the means are a copy of the sums.
        static ActivationStatistics Means(ActivationAccumulator sum)
        {
            using (sum)
            {
                return sum.Build();
            }
        }

        Dictionary<string, Tensor> Run(CalibrationSession session, IReadOnlyCollection<NamedOnnxValue> batch)
        {
            var found = new Dictionary<string, Tensor>(StringComparer.Ordinal);
            session.Run(batch, (index, data, shape) =>
            {
                using Tensor array = tensor(data, shape);
                found.Add(values[index], array.clone());
                ranks[values[index]] = ranks.TryGetValue(values[index], out int rank) && rank != shape.Length ? -1 : shape.Length;
            });
            return found;
        }

        static Tensor Rows(Tensor value, bool isTransposed) => isTransposed ? value.t() : value;
    }
}
