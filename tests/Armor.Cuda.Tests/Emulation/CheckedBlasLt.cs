using Armor.Cuda.Interop;

namespace Armor.Cuda.Tests.Emulation;

/// <summary>A cuBLASLt that holds its calls against the rules and computes, column-major as the library does, from what the descriptors say.</summary>
internal sealed unsafe class CheckedBlasLt : IBlasLt
{
    private const int InvalidValue = 7;
    private readonly Dictionary<nint, Item> _live = [];
    private nint _last = 5000;

    private sealed class Item
    {
        public int Type { get; init; }

        public long Rows { get; init; }

        public long Columns { get; init; }

        public long Leading { get; init; }

        public int Batch { get; set; } = 1;

        public long Stride { get; set; }

        public bool IsATransposed { get; set; }
    }

    /// <summary>Rules that were broken.</summary>
    public List<string> Violations { get; } = [];

    /// <summary>What nobody has destroyed.</summary>
    public int Live => _live.Count;

    public int Create(out nint handle) => Add(new Item(), out handle);

    public int Destroy(nint handle) => End(handle);

    public int MatmulDescriptorCreate(out nint descriptor, int computeType, int scaleType)
    {
        Rule(computeType == BlasLtNumbers.Compute32F && scaleType == SparseLtNumbers.Real32F, "computed in 32F");
        return Add(new Item(), out descriptor);
    }

    public int MatmulDescriptorSet(nint descriptor, int attribute, void* value, nuint bytes)
    {
        Rule(attribute == BlasLtNumbers.TransposeA && bytes == 4, "an attribute of another size");
        _live[descriptor].IsATransposed = *(int*)value == BlasLtNumbers.Transposed;
        return 0;
    }

    public int MatmulDescriptorDestroy(nint descriptor) => End(descriptor);

    public int LayoutCreate(out nint layout, int type, ulong rows, ulong columns, long leading)
    {
        Rule(leading >= (long)rows, "the leading dimension is below a column's");
        return Add(new Item { Type = type, Rows = (long)rows, Columns = (long)columns, Leading = leading }, out layout);
    }

    public int LayoutSet(nint layout, int attribute, void* value, nuint bytes)
    {
        if (attribute == BlasLtNumbers.BatchCount)
        {
            Rule(bytes == 4, "a batch count is a number of 32 bits");
            _live[layout].Batch = *(int*)value;
        }
        else
        {
            Rule(attribute == BlasLtNumbers.BatchStride && bytes == 8, "a batch stride is a number of 64 bits");
            _live[layout].Stride = *(long*)value;
        }

        return 0;
    }

    public int LayoutDestroy(nint layout) => End(layout);

    public int PreferenceCreate(out nint preference) => Add(new Item(), out preference);

    public int PreferenceSet(nint preference, int attribute, void* value, nuint bytes)
    {
        Rule(attribute == BlasLtNumbers.MostWorkspace && bytes == 8, "a size of memory is a number of 64 bits");
        return 0;
    }

    public int PreferenceDestroy(nint preference) => End(preference);

    public int Heuristic(nint handle, nint descriptor, nint a, nint b, nint c, nint d, nint preference, int wanted, BlasLtHeuristic* results, out int found)
    {
        found = 1;
        *results = new BlasLtHeuristic { WorkspaceBytes = 1024 };
        results->Algorithm[0] = 0xA190;
        return _live.ContainsKey(preference) && _live.ContainsKey(handle) ? 0 : InvalidValue;
    }

    public int Matmul(
        nint handle, nint descriptor, float* alpha, nint a, nint aLayout, nint b, nint bLayout, float* beta, nint c, nint cLayout, nint d, nint dLayout, BlasLtAlgorithm* algorithm,
        nint workspace, nuint workspaceBytes, nint stream)
    {
        Rule((*algorithm)[0] == 0xA190 && workspaceBytes == 1024 && workspace != 0, "not the algorithm that was chosen");
        Rule(*alpha == 1 && *beta == 0 && stream != 0, "alpha, beta or the stream");
        var (left, right, result) = (_live[aLayout], _live[bLayout], _live[dLayout]);
        var (rows, inner) = _live[descriptor].IsATransposed ? (left.Columns, left.Rows) : (left.Rows, left.Columns);
        Rule(right.Rows == inner && result.Rows == rows && result.Columns == right.Columns && left.Batch == right.Batch && left.Batch == result.Batch, "sizes do not fit each other");
        for (var batch = 0; batch < result.Batch; batch++)
        {
            for (long column = 0; column < result.Columns; column++)
            {
                for (long row = 0; row < rows; row++)
                {
                    double sum = 0;
                    for (long k = 0; k < inner; k++)
                    {
                        var place = _live[descriptor].IsATransposed ? k + (row * left.Leading) : row + (k * left.Leading);
                        sum += (double)Read(a, left, (batch * left.Stride) + place) * Read(b, right, (batch * right.Stride) + k + (column * right.Leading));
                    }

                    var at = (batch * result.Stride) + row + (column * result.Leading);
                    if (result.Type == SparseLtNumbers.Real32F)
                    {
                        ((float*)d)[at] = (float)sum;
                    }
                    else
                    {
                        ((ushort*)d)[at] = FromFloat((float)sum, result.Type == SparseLtNumbers.Real16BF);
                    }
                }
            }
        }

        return 0;
    }

    public static float ToFloat(ushort bits, bool isBFloat) => isBFloat ? BitConverter.UInt32BitsToSingle((uint)bits << 16) : (float)BitConverter.UInt16BitsToHalf(bits);

    public static ushort FromFloat(float value, bool isBFloat)
    {
        if (!isBFloat)
        {
            return BitConverter.HalfToUInt16Bits((Half)value);
        }

        var bits = BitConverter.SingleToUInt32Bits(value);
        return (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }

    private static float Read(nint values, Item layout, long place) => ToFloat(((ushort*)values)[place], layout.Type == SparseLtNumbers.Real16BF);

    private int Add(Item item, out nint handle)
    {
        handle = ++_last;
        _live.Add(handle, item);
        return 0;
    }

    private int End(nint handle)
    {
        Rule(_live.Remove(handle), "destroyed twice, or never made");
        return 0;
    }

    private void Rule(bool isKept, string rule)
    {
        if (!isKept)
        {
            Violations.Add(rule);
        }
    }
}
