namespace Armor.Cuda.Kernels;

/// <summary>
/// Weights that read the same input, such as those of queries, keys and values: multiplied by in the same two launches where they are alike, one after another
/// where they are not, or where the batch is for NVIDIA's libraries.
/// </summary>
internal sealed class ProductGroup
{
    private readonly DeviceProduct[] _products;
    private readonly FragmentProduct[] _joined;
    private readonly int _splits;

    /// <param name="run">Its card decides into how many parts columns are cut.</param>
    /// <param name="products">At least one; stay the caller's.</param>
    public ProductGroup(DeviceRun run, params DeviceProduct[] products)
    {
        _products = products;
        FragmentProduct[] fragments = [.. products.OfType<FragmentProduct>()];
        _joined = fragments.Length == products.Length && products.Length > 1 && FragmentLaunch.CanJoin(fragments) ? fragments : [];
        _splits = _joined.Length == 0 ? 0 : FragmentProduct.SplitsOf(run, fragments.Sum(part => part.Rows), fragments[0].Columns, null);
    }

    /// <summary>Whether a batch's input may be one that is made on the way.</summary>
    public bool TakesAnyInput(int batch) => Array.TrueForAll(_products, product => product.TakesAnyInput(batch));

    /// <summary>Queues y = W·x for each weight.</summary>
    /// <param name="run">Its stream and scratch are used.</param>
    /// <param name="input">What is multiplied; made on the way only where <see cref="TakesAnyInput"/>.</param>
    /// <param name="batch">At least 1.</param>
    /// <param name="outputs">Addresses on the device, one a weight: [batch, d_out], float32.</param>
    public void Multiply(DeviceRun run, ProductInput input, int batch, params ReadOnlySpan<nint> outputs)
    {
        if (_joined.Length > 0 && !Array.Exists(_joined, part => part.GoesToLibraries(batch)))
        {
            FragmentLaunch.Queue(run, _joined, _splits, input, batch, outputs);
            return;
        }

        for (var i = 0; i < _products.Length; i++)
        {
            if (_products[i].TakesAnyInput(batch))
            {
                ((FragmentProduct)_products[i]).Multiply(run, input, batch, outputs[i]);
            }
            else
            {
                _products[i].Multiply(run, input.Address, batch, outputs[i]);
            }
        }
    }
}
