using System.Runtime.InteropServices;
using Armor.Cuda.Devices;
using Armor.Cuda.Kernels;
using Armor.Cuda.Packing;
using Armor.Cuda.Prefill;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Kernels;

namespace Armor.Cuda.SelfTest;

/// <summary>Weights of any size out of few rows of random numbers.</summary>
internal static class Synthetic
{
    private const int Rows = 64;

    public static FragmentProduct Dense(DeviceRun run, int rows, int columns, TensorElementType type)
    {
        var source = DenseWeightSource.FromMemory(RandomWeights.Values(Rows * columns, 1), Rows, columns);
        return FragmentProduct.OfParts(
            run, "dense", new KernelShape(rows, columns), type, null, new RepeatedParts(new DenseFragments(source, type), Fragments.TilesOf(rows)), null, null);
    }

    /// <param name="run">Takes it to the device.</param>
    /// <param name="rows">d_out.</param>
    /// <param name="columns">d_in.</param>
    /// <param name="block">Of both wrappers; 1 for none.</param>
    /// <param name="type">BFloat16 or Float16.</param>
    /// <param name="isQuantised">Whether the core has 8 bits.</param>
    /// <param name="splits">Null for the best by rule.</param>
    public static FragmentProduct Core(DeviceRun run, int rows, int columns, int block, TensorElementType type, bool isQuantised, int? splits = null)
    {
        var layer = RandomWeights.Layer(Rows, columns, null, null);
        var core = isQuantised ? layer.Core.RoundedTo(TensorElementType.Int8) : layer.Core;
        var input = block == 1 ? null : new RepeatedParts(new WrapperFragments(RandomWeights.Layer(block, 4 * block, block, null).OutputWrapper!, type), Fragments.TilesOf(columns));
        var output = block == 1 ? null : new RepeatedParts(new WrapperFragments(RandomWeights.Layer(block, 4 * block, block, null).OutputWrapper!, type), Fragments.TilesOf(rows));
        return FragmentProduct.OfParts(
            run, isQuantised ? "int8" : "sparse", new KernelShape(rows, columns, block, block), type, splits,
            new RepeatedParts(new SparseFragments(core, type), Fragments.TilesOf(rows)), input, output);
    }

    /// <summary>A dense weight row by row, for cuBLASLt.</summary>
    public static IPackedParts RowMajor(int rows, int columns) => new RepeatedParts(new HalfRows(columns), rows);

    /// <summary>A core as cuSPARSELt holds it.</summary>
    public static DeviceMemory Compressed(DeviceRun run, SparseLtPlan plan, int rows, int columns)
    {
        using var core = Core(run, rows, columns, 1, TensorElementType.BFloat16, false);
        using var dense = run.Device.Allocate((long)rows * columns * sizeof(ushort));
        dense.Fill(0, run.Stream);
        var chunks = Fragments.ChunksOf(columns);
        run.Launch(KernelNames.Expand("sparse", "bf16"), (uint)Fragments.TilesOf(rows), (uint)chunks, 1, Fragments.Lanes, new ExpandArguments
        {
            Weight = core.Weight, Output = dense.Address, Rows = rows, Columns = columns, Chunks = chunks,
        });
        return plan.Compress(run, dense);
    }

    private sealed class HalfRows(int columns) : IPackedParts
    {
        public int Count => Rows;

        public int PartBytes => columns * sizeof(ushort);

        public void Pack(int part, Span<byte> destination)
        {
            var halves = MemoryMarshal.Cast<byte, ushort>(destination);
            var values = RandomWeights.Values(columns, part);
            for (var i = 0; i < halves.Length; i++)
            {
                halves[i] = HalfBits.From(values[i], TensorElementType.BFloat16);
            }
        }
    }
}
