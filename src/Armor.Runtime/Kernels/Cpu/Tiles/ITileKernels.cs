namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <summary>
/// The inner loops of one kind of tile. Each adds, for one input after another and in the same order, to four vectors of sums an input, so that a
/// result does not depend on which of the loops computed it.
/// </summary>
internal unsafe interface ITileKernels
{
    /// <summary>How a matrix is cut into such tiles.</summary>
    static abstract TileShape Shape { get; }

    /// <summary>One tile, one input.</summary>
    /// <param name="weights">The tile, from the beginning of a section on.</param>
    /// <param name="input">The packed input of these steps.</param>
    /// <param name="steps">How many.</param>
    /// <param name="isFirst">Whether the sums begin here; otherwise they are added to.</param>
    /// <param name="sums">[4 vectors].</param>
    static abstract void One(byte* weights, byte* input, int steps, bool isFirst, float* sums);

    /// <summary>Two tiles far apart, one input: two streams from memory are faster than one.</summary>
    /// <param name="weights">The first tile, whole.</param>
    /// <param name="others">The second.</param>
    /// <param name="input">The packed input.</param>
    /// <param name="otherInput">The second tile's input: that of the first but for a block-diagonal matrix.</param>
    /// <param name="steps">All.</param>
    /// <param name="sums">[2 tiles, 4 vectors].</param>
    static abstract void OneByTwoTiles(byte* weights, byte* others, byte* input, byte* otherInput, int steps, float* sums);

    /// <summary>One tile, two inputs.</summary>
    /// <param name="weights">As in <see cref="One"/>.</param>
    /// <param name="input">As in <see cref="One"/>.</param>
    /// <param name="steps">As in <see cref="One"/>.</param>
    /// <param name="isFirst">As in <see cref="One"/>.</param>
    /// <param name="sums">[4 vectors, 2 inputs].</param>
    /// <param name="next">What will be wanted after this; fetched ahead. May lie beyond the weight.</param>
    /// <param name="lines">How many lines of the cache to fetch with each reading: 1, 2 or 4.</param>
    static abstract void Two(byte* weights, byte* input, int steps, bool isFirst, float* sums, byte* next, int lines);

    /// <summary>One tile, four inputs.</summary>
    /// <param name="weights">As in <see cref="One"/>.</param>
    /// <param name="input">As in <see cref="One"/>.</param>
    /// <param name="steps">As in <see cref="One"/>.</param>
    /// <param name="isFirst">As in <see cref="One"/>.</param>
    /// <param name="sums">[4 vectors, 4 inputs].</param>
    /// <param name="next">As in <see cref="Two"/>.</param>
    /// <param name="lines">As in <see cref="Two"/>; at least 2 where tiles are halved, of which each half takes one.</param>
    static abstract void Four(byte* weights, byte* input, int steps, bool isFirst, float* sums, byte* next, int lines);

    /// <summary>Half a tile, eight inputs: what is done for each vector of values is done for twice as many inputs as in <see cref="Four"/>.</summary>
    /// <param name="weights">As in <see cref="One"/>.</param>
    /// <param name="input">As in <see cref="One"/>.</param>
    /// <param name="half">The first two vectors (0) or the last two (1).</param>
    /// <param name="steps">As in <see cref="One"/>.</param>
    /// <param name="isFirst">As in <see cref="One"/>.</param>
    /// <param name="sums">[2 vectors, 8 inputs].</param>
    /// <param name="next">As in <see cref="Two"/>.</param>
    /// <param name="lines">As in <see cref="Two"/>: 1 or 2.</param>
    static abstract void Eight(byte* weights, byte* input, int half, int steps, bool isFirst, float* sums, byte* next, int lines);

    /// <summary>From sums to results.</summary>
    /// <param name="sums">The first of an input's four vectors.</param>
    /// <param name="stride">From one of them to the next, in float32.</param>
    /// <param name="output">As many as the tile has rows.</param>
    static abstract void Finish(float* sums, int stride, float* output);
}
