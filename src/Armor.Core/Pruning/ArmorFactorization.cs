using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning;

/// <summary>
/// The state of one weight's pruning: W ≈ A·S·B with A and B block diagonal and S N:M sparse. Tensors that are put in are owned by the
/// factorisation and must not be changed in place afterwards: clones share them.
/// </summary>
public sealed class ArmorFactorization : IDisposable
{
    private const long ExactRows = 512;

    private Tensor core;
    private Tensor? outputBlocks;
    private Tensor? inputBlocks;

    /// <summary>Takes over the three factors.</summary>
    /// <param name="core">S [d_out, d_in], float32, at most N non-zeros in each M consecutive columns of a row.</param>
    /// <param name="outputBlocks">The blocks of A [d_out/b_A, b_A, b_A], or <see langword="null"/> for the identity.</param>
    /// <param name="inputBlocks">The blocks of B [d_in/b_B, b_B, b_B], or <see langword="null"/> for the identity.</param>
    public ArmorFactorization(Tensor core, Tensor? outputBlocks, Tensor? inputBlocks)
    {
        ArgumentNullException.ThrowIfNull(core);
        this.core = core.DetachFromDisposeScope();
        this.outputBlocks = outputBlocks?.DetachFromDisposeScope();
        this.inputBlocks = inputBlocks?.DetachFromDisposeScope();
    }

    /// <summary>S [d_out, d_in].</summary>
    public Tensor Core
    {
        get => core;
        set => Replace(ref core!, value);
    }

    /// <summary>The blocks of A [d_out/b_A, b_A, b_A]; <see langword="null"/>: A is the identity and stays it.</summary>
    public Tensor? OutputBlocks
    {
        get => outputBlocks;
        set => Replace(ref outputBlocks, value);
    }

    /// <summary>The blocks of B [d_in/b_B, b_B, b_B]; <see langword="null"/>: B is the identity and stays it.</summary>
    public Tensor? InputBlocks
    {
        get => inputBlocks;
        set => Replace(ref inputBlocks, value);
    }

    /// <summary>d_out.</summary>
    public long Rows => core.shape[0];

    /// <summary>d_in.</summary>
    public long Columns => core.shape[1];

    /// <summary>b_A; 1 where A is the identity.</summary>
    public long OutputBlockSize => outputBlocks?.shape[1] ?? 1;

    /// <summary>b_B; 1 where B is the identity.</summary>
    public long InputBlockSize => inputBlocks?.shape[1] ?? 1;

    /// <summary>A second handle on the same factors, independent of what is put into this one later.</summary>
    /// <returns>A factorisation that the caller disposes.</returns>
    public ArmorFactorization Clone() => new(core.alias(), outputBlocks?.alias(), inputBlocks?.alias());

    /// <summary>Puts the factors of another factorisation in here, sharing its tensors.</summary>
    /// <param name="other">A factorisation of the same shapes.</param>
    public void CopyFrom(ArmorFactorization other)
    {
        ArgumentNullException.ThrowIfNull(other);
        Core = other.core.alias();
        OutputBlocks = other.outputBlocks?.alias();
        InputBlocks = other.inputBlocks?.alias();
    }

    /// <summary>A·X.</summary>
    /// <param name="x">[d_out, n].</param>
    /// <returns>[d_out, n]; X itself where A is the identity.</returns>
    public Tensor MultiplyOutput(Tensor x) => BlockDiagonalProduct.Left(outputBlocks, x);

    /// <summary>Aᵀ·X.</summary>
    /// <param name="x">[d_out, n].</param>
    /// <returns>[d_out, n]; X itself where A is the identity.</returns>
    public Tensor MultiplyOutputTransposed(Tensor x) => BlockDiagonalProduct.Left(outputBlocks?.transpose(1, 2), x);

    /// <summary>X·B.</summary>
    /// <param name="x">[n, d_in].</param>
    /// <returns>[n, d_in]; X itself where B is the identity.</returns>
    public Tensor MultiplyInput(Tensor x) => BlockDiagonalProduct.Right(x, inputBlocks);

    /// <summary>X·Bᵀ.</summary>
    /// <param name="x">[n, d_in].</param>
    /// <returns>[n, d_in]; X itself where B is the identity.</returns>
    public Tensor MultiplyInputTransposed(Tensor x) => BlockDiagonalProduct.Right(x, inputBlocks?.transpose(1, 2));

    /// <summary>Ŵ = A·S·B.</summary>
    /// <returns>[d_out, d_in], float32.</returns>
    public Tensor Product()
    {
        using var scope = NewDisposeScope();
        Tensor product = MultiplyOutput(MultiplyInput(core));
        return (ReferenceEquals(product, core) ? core.alias() : product).MoveToOuterDisposeScope();
    }

    /// <summary>Ŵ multiplied out in float64, some rows at a time: where large factors cancel, float32 sums are not what is stored.</summary>
    /// <returns>[d_out, d_in], float32.</returns>
    internal Tensor ExactProduct()
    {
        using var scope = NewDisposeScope();
        Tensor product = empty([Rows, Columns], float32, core.device);
        Tensor? b = inputBlocks?.to(float64);
        long size = OutputBlockSize;
        long height = Math.Max(1, ExactRows / size) * size;
        for (long first = 0; first < Rows; first += height)
        {
            using var stripScope = NewDisposeScope();
            long count = Math.Min(height, Rows - first);
            Tensor rows = BlockDiagonalProduct.Right(core.narrow(0, first, count).to(float64), b);
            product.narrow(0, first, count).copy_(BlockDiagonalProduct.Left(outputBlocks?.narrow(0, first / size, count / size).to(float64), rows));
        }

        return product.MoveToOuterDisposeScope();
    }

    /// <summary>Frees the factors.</summary>
    public void Dispose()
    {
        core.Dispose();
        outputBlocks?.Dispose();
        inputBlocks?.Dispose();
    }

    private static void Replace(ref Tensor? field, Tensor? value)
    {
        if (ReferenceEquals(field, value))
        {
            return;
        }

        field?.Dispose();
        field = value?.DetachFromDisposeScope();
    }
}
