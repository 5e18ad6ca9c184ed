namespace Armor.Cuda.Kernels;

/// <summary>What a product in fragments reads: a vector a row, or what a norm or an activation makes of some, without a launch of its own.</summary>
/// <param name="Address">On the device: [batch, d_in], float32, aligned to 16 bytes.</param>
internal readonly record struct ProductInput(nint Address)
{
    /// <summary>Where there is one, the input is act(<see cref="Address"/> + gate bias) · (this + up bias): [batch, d_in].</summary>
    public nint Up { get; init; }

    /// <summary>[d_in], or 0.</summary>
    public nint GateBias { get; init; }

    /// <summary>[d_in], or 0.</summary>
    public nint UpBias { get; init; }

    /// <summary>Whether the activation is gelu; else silu.</summary>
    public bool IsGelu { get; init; }

    /// <summary>Where there is one, the input is the norm of <see cref="Address"/> by these: [d_in].</summary>
    public nint Norm { get; init; }

    /// <summary>Sums of squares that <see cref="ProductSum"/> has left: [batch, d_in / 128, rounded up].</summary>
    public nint Squares { get; init; }

    /// <summary>Added to the mean square.</summary>
    public float Epsilon { get; init; }

    /// <summary>The same from a row on.</summary>
    public ProductInput From(int row, int columns) => row == 0 ? this : this with
    {
        Address = Address + ((nint)row * columns * sizeof(float)),
        Up = Up == 0 ? 0 : Up + ((nint)row * columns * sizeof(float)),
        Squares = Squares == 0 ? 0 : Squares + ((nint)row * ProductSum.BlocksOf(columns) * sizeof(float)),
    };
}

/// <summary>Says that a product by few inputs is added to what its output holds.</summary>
/// <param name="Squares">On the device: [batch, d_out / 128, rounded up], sums of squares of the output's parts, for the norm that follows; 0 where the product replaces the output.</param>
/// <param name="Bias">[d_out], added too, or 0.</param>
internal readonly record struct ProductSum(nint Squares, nint Bias)
{
    /// <summary>Parts of an output whose squares are summed by themselves.</summary>
    public static int BlocksOf(int size) => (size + Packing.Fragments.BlockRows - 1) / Packing.Fragments.BlockRows;
}
