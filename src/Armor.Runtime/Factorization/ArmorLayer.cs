using System.Numerics;
using System.Runtime.InteropServices;
using Armor.Runtime.Checkpoints;

namespace Armor.Runtime.Factorization;

/// <summary>
/// A factorised weight Ŵ = A·S·B (arXiv 2510.05528): the sparse core S between two block-diagonal wrappers. A linear computes
/// y = A·(S·(B·x)) + bias. Immutable.
/// </summary>
public sealed class ArmorLayer
{
    /// <summary>Composes a layer.</summary>
    /// <param name="outputWrapper">A, [d_out, d_out]; null for the identity.</param>
    /// <param name="core">S, [d_out, d_in].</param>
    /// <param name="inputWrapper">B, [d_in, d_in]; null for the identity.</param>
    /// <exception cref="ArgumentException">A wrapper's size is not the core's.</exception>
    public ArmorLayer(BlockDiagonalMatrix? outputWrapper, SparseCore core, BlockDiagonalMatrix? inputWrapper)
    {
        ArgumentNullException.ThrowIfNull(core);
        if (outputWrapper is not null && outputWrapper.Size != core.Rows)
        {
            throw new ArgumentException($"The output wrapper has {outputWrapper.Size} rows, the core {core.Rows}.", nameof(outputWrapper));
        }

        if (inputWrapper is not null && inputWrapper.Size != core.Columns)
        {
            throw new ArgumentException($"The input wrapper has {inputWrapper.Size} rows, the core {core.Columns} columns.", nameof(inputWrapper));
        }

        OutputWrapper = outputWrapper;
        Core = core;
        InputWrapper = inputWrapper;
    }

    /// <summary>A, [d_out, d_out]; null for the identity.</summary>
    public BlockDiagonalMatrix? OutputWrapper { get; }

    /// <summary>S, [d_out, d_in].</summary>
    public SparseCore Core { get; }

    /// <summary>B, [d_in, d_in]; null for the identity.</summary>
    public BlockDiagonalMatrix? InputWrapper { get; }

    /// <summary>d_out.</summary>
    public int Rows => Core.Rows;

    /// <summary>d_in.</summary>
    public int Columns => Core.Columns;

    /// <summary>Multiplies the factors out; products are summed in float64.</summary>
    /// <returns>Ŵ, [d_out, d_in], row-major.</returns>
    public float[] ToDense()
    {
        if (OutputWrapper is null && InputWrapper is null)
        {
            return Core.ToDense();
        }

        var result = new float[(long)Rows * Columns];
        var input = InputWrapper is null ? null : Array.ConvertAll(InputWrapper.Values.ToArray(), value => (double)value);
        var bandHeight = OutputWrapper?.BlockSize ?? 1;

        // A block of A reads only its own rows of S·B.
        Parallel.For(0, Rows / bandHeight, band =>
        {
            var product = new double[(long)bandHeight * Columns];
            var values = new float[Core.RowValueCount];
            for (var row = 0; row < bandHeight; row++)
            {
                Core.CopyRowTo((band * bandHeight) + row, values);
                MultiplyCoreRow((band * bandHeight) + row, values, input, product.AsSpan(row * Columns, Columns));
            }

            var sum = OutputWrapper is null ? product : new double[Columns];
            for (var row = 0; row < bandHeight; row++)
            {
                if (OutputWrapper is not null)
                {
                    Array.Clear(sum);
                    var coefficients = OutputWrapper.Block(band).Slice(row * bandHeight, bandHeight);
                    for (var k = 0; k < bandHeight; k++)
                    {
                        AddScaled(sum, coefficients[k], product.AsSpan(k * Columns, Columns));
                    }
                }

                var output = result.AsSpan(((band * bandHeight) + row) * Columns, Columns);
                for (var column = 0; column < Columns; column++)
                {
                    output[column] = (float)sum[column];
                }
            }
        });
        return result;
    }

    /// <summary>The size of the stored layer: wrappers, kept values with their scales, and mask, without names and headers.</summary>
    /// <param name="type">The stored type of wrappers and kept values.</param>
    /// <param name="coreType">The stored type of the kept values where it is another one, I8.</param>
    public long StorageBytes(TensorElementType type, TensorElementType? coreType = null)
        => (((OutputWrapper?.Values.Length ?? 0L) + (InputWrapper?.Values.Length ?? 0L)) * type.ByteSize())
            + SparseCore.StorageBytes(Rows, Columns, coreType ?? type, Core.Pattern);

    /// <summary>The layer as it is after storing its values in a type and reading them back.</summary>
    /// <param name="type">F32, F16, BF16 or F64.</param>
    /// <param name="coreType">The type of the core's values where it is another one; I8 makes a quantised core.</param>
    /// <exception cref="ArgumentException">A value for I8 is not finite.</exception>
    public ArmorLayer RoundedTo(TensorElementType type, TensorElementType? coreType = null)
        => new(OutputWrapper?.RoundedTo(type), Core.RoundedTo(coreType ?? type), InputWrapper?.RoundedTo(type));

    /// <summary>The layer as it is after its factors were rounded, in memory of its own, its core one of floats.</summary>
    /// <param name="coreType">F32, F16, BF16 or F64.</param>
    /// <param name="wrapperType">The same or I8.</param>
    internal ArmorLayer CopiedTo(TensorElementType coreType, TensorElementType wrapperType)
        => new(OutputWrapper?.CopiedTo(wrapperType), Core.CopiedTo(coreType), InputWrapper?.CopiedTo(wrapperType));

    private static void AddScaled(Span<double> sum, double scale, ReadOnlySpan<double> addend)
    {
        var sums = MemoryMarshal.Cast<double, Vector<double>>(sum);
        var addends = MemoryMarshal.Cast<double, Vector<double>>(addend);
        for (var i = 0; i < sums.Length; i++)
        {
            sums[i] += addends[i] * scale;
        }

        for (var i = sums.Length * Vector<double>.Count; i < sum.Length; i++)
        {
            sum[i] += addend[i] * scale;
        }
    }

    /// <summary>A row of S·B.</summary>
    private void MultiplyCoreRow(int row, float[] values, double[]? input, Span<double> output)
    {
        var columns = MaskBits.In(Core.RowMask(row));
        foreach (var value in values)
        {
            var column = columns.Next();
            if (input is null)
            {
                output[column] = value;
            }
            else
            {
                var b = InputWrapper!.BlockSize;
                AddScaled(output.Slice(column / b * b, b), value, input.AsSpan(column * b, b));
            }
        }
    }
}
