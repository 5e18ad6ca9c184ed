using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Recovery;

/// <summary>
/// The parameters of some linears, float32, in one buffer of values and one of gradients, of which each factor is a view: an optimiser, a copy of
/// the best state or a file then deals with one vector, however many linears there are.
/// </summary>
internal sealed class TrainableFactors : IDisposable
{
    private readonly List<Tensor> owned = [];
    private readonly Tensor exact;

    /// <summary>Takes the factors' values over.</summary>
    /// <param name="layers">Each linear by its name, in the order that the buffers follow.</param>
    public TrainableFactors(IReadOnlyList<KeyValuePair<string, ArmorLayer>> layers)
    {
        using var scope = NewDisposeScope();
        var slices = new List<FactorSlice>();
        foreach ((string name, ArmorLayer layer) in layers)
        {
            Add(name, FactorKind.Core, layer.Rows, layer.Core.RowValueCount);
            AddWrapper(name, FactorKind.Output, layer.OutputWrapper);
            AddWrapper(name, FactorKind.Input, layer.InputWrapper);
        }

        Slices = slices;
        Count = slices.Sum(slice => slice.Length);
        Values = Own(zeros(Count, float32));
        Gradients = Own(zeros(Count, float32));
        exact = Own(zeros(Count, float32));
        Linears = [.. layers.Select(layer => Create(layer.Key, layer.Value))];

        void AddWrapper(string name, FactorKind kind, BlockDiagonalMatrix? wrapper)
        {
            if (wrapper is not null)
            {
                Add(name, kind, wrapper.BlockCount, wrapper.BlockSize, wrapper.BlockSize);
            }
        }

        void Add(string name, FactorKind kind, params long[] shape)
        {
            long start = slices.Count == 0 ? 0 : slices[^1].Start + slices[^1].Length;
            slices.Add(new FactorSlice(name, kind, shape, start, shape.Aggregate(1L, (product, size) => product * size)));
        }
    }

    /// <summary>The linears in their order.</summary>
    public IReadOnlyList<TrainableLinear> Linears { get; }

    /// <summary>Where each factor lies.</summary>
    public IReadOnlyList<FactorSlice> Slices { get; }

    /// <summary>Number of parameters.</summary>
    public long Count { get; }

    /// <summary>All parameters.</summary>
    public Tensor Values { get; }

    /// <summary>All gradients; backward passes add to them.</summary>
    public Tensor Gradients { get; }

    /// <summary>
    /// Does something with the parameters as they will be stored, and puts the exact ones back. What is judged is what will be written.
    /// </summary>
    /// <param name="type">F32, F16 or BF16.</param>
    /// <param name="coreType">The same, or I8 for the kept values.</param>
    /// <param name="work">What to do meanwhile.</param>
    public T AsStored<T>(TensorElementType type, TensorElementType coreType, Func<T> work)
    {
        using var withoutGradients = no_grad();
        using var scope = NewDisposeScope();
        ScalarType rounded = type switch
        {
            TensorElementType.Float16 => ScalarType.Float16,
            TensorElementType.BFloat16 => ScalarType.BFloat16,
            _ => ScalarType.Float32,
        };
        exact.copy_(Values);
        SparseCore[] cores = coreType == TensorElementType.Int8 ? [.. Linears.Select(linear => linear.ToCore().RoundedTo(coreType))] : [];
        Values.copy_(Values.to(rounded));
        foreach ((TrainableLinear linear, SparseCore core) in Linears.Zip(cores))
        {
            linear.Core.copy_(tensor(core.Values.ToArray()).view_as(linear.Core));
        }

        try
        {
            return work();
        }
        finally
        {
            Values.copy_(exact);
        }
    }

    /// <summary>The linears as they are now, to store.</summary>
    public IReadOnlyList<KeyValuePair<string, ArmorLayer>> ToLayers() => [.. Linears.Select(linear => KeyValuePair.Create(linear.Name, linear.ToLayer()))];

    /// <summary>Frees everything.</summary>
    public void Dispose()
    {
        foreach (Tensor tensor in owned)
        {
            tensor.Dispose();
        }
    }

    private TrainableLinear Create(string name, ArmorLayer layer)
    {
        int kept = layer.Core.RowValueCount;
        Tensor columns = Own(tensor(Columns(layer.Core), [layer.Rows, kept], int64));
        return new TrainableLinear(
            name,
            layer,
            columns,
            Parameter(FactorKind.Core, layer.Core.Values)!,
            Parameter(FactorKind.Output, layer.OutputWrapper?.Values),
            Parameter(FactorKind.Input, layer.InputWrapper?.Values));

        Tensor? Parameter(FactorKind kind, ReadOnlyMemory<float>? values)
        {
            if (values is null)
            {
                return null;
            }

            FactorSlice slice = Slices.First(candidate => candidate.Linear == name && candidate.Kind == kind);
            Tensor view = Values.narrow(0, slice.Start, slice.Length);
            view.copy_(tensor(values.Value.ToArray()));
            Tensor leaf = Own(view.view(slice.Shape).detach()).requires_grad_(true);
            leaf.grad = Own(Gradients.narrow(0, slice.Start, slice.Length).view(slice.Shape));
            return leaf;
        }
    }

    private static long[] Columns(SparseCore core)
    {
        var columns = new long[(long)core.Rows * core.RowValueCount];
        int next = 0;
        for (int row = 0; row < core.Rows; row++)
        {
            ReadOnlySpan<byte> mask = core.RowMask(row);
            for (int column = 0; column < core.Columns; column++)
            {
                if ((mask[column >> 3] >> (column & 7) & 1) != 0)
                {
                    columns[next++] = column;
                }
            }
        }

        return columns;
    }

    private Tensor Own(Tensor tensor)
    {
        owned.Add(tensor.DetachFromDisposeScope());
        return tensor;
    }
}
