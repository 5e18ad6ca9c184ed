// Between our own forms and the row-major ones of NVIDIA's libraries: for large batches, and once a weight.

/// Arguments of what writes a weight out.
struct ExpandArguments
{
    const Word4* weight;
    u16* output;                // [rows, columns] with zeros; of a wrapper [rows, block size]
    int rows;
    int columns;
    int chunks;                 // of a core; fragments of a tile of a wrapper
};

/// A warp a tile and a chunk. A lane writes the values that it has; the output is zero before.
template <class Type, bool IsInt8>
ARMOR_DEVICE void expand_core(const ExpandArguments& a)
{
    const int lane = ARMOR_TID, g = lane / 4, t = lane % 4;
    const int tile = ARMOR_BLOCK_X, chunk = ARMOR_BLOCK_Y;
    const u64 index = static_cast<u64>(tile) * a.chunks + chunk;
    const Word4* start = a.weight + index * (IsInt8 ? (ChunkSteps / 2 + 1) * Lanes + 2 : (ChunkSteps + 1) * Lanes);
    const u32* words = reinterpret_cast<const u32*>(start);
    const u32* places = reinterpret_cast<const u32*>(start + (IsInt8 ? ChunkSteps / 2 : ChunkSteps) * Lanes);
    const u16* scales = reinterpret_cast<const u16*>(start + (ChunkSteps / 2 + 1) * Lanes);
    for (int i = 0; i < ChunkSteps * 8; i++)
    {
        int step = i / 8, value = i % 8;
        int row = g + value / 2 % 2 * 8, stored = t * 2 + value % 2 + value / 4 * 8;

        // Of each four lanes the one that holds the places of this step and these sixteen columns.
        int group = stored / 2;
        u32 word = places[(g * 4 + step % 2 * 2 + group / 4) * 4 + step / 2];
        int column = chunk * ChunkSteps * StepColumns + step * StepColumns + group * 4 + (word >> (row / 8 * 16 + group % 4 * 4 + value % 2 * 2) & 3);
        u16 half;
        if constexpr (IsInt8)
        {
            int byte = (step / 2 * Lanes + lane) * 16 + step % 2 * 8 + value;
            float number = static_cast<float>(static_cast<int>(reinterpret_cast<const u8*>(words)[byte]) - 128);
            half = static_cast<u16>(pack(Type(), number * bits_to_float(static_cast<u32>(scales[row]) << 16), 0));
        }
        else
        {
            half = reinterpret_cast<const u16*>(words)[(step * Lanes + lane) * 8 + value];
        }

        if (tile * TileRows + row < a.rows && column < a.columns)
        {
            a.output[static_cast<u64>(tile * TileRows + row) * a.columns + column] = half;
        }
    }
}

/// A warp a fragment of 16×16.
ARMOR_DEVICE void expand_fragment(const ExpandArguments& a)
{
    const int lane = ARMOR_TID, tile = ARMOR_BLOCK_X, fragment = ARMOR_BLOCK_Y;
    const u16* halves = reinterpret_cast<const u16*>(a.weight + (static_cast<u64>(tile) * a.chunks + fragment) * Lanes + lane);
    for (int value = 0; value < 8; value++)
    {
        int row = lane / 4 + value / 2 % 2 * 8, column = lane % 4 * 2 + value % 2 + value / 4 * 8;
        a.output[static_cast<u64>(tile * TileRows + row) * a.columns + fragment * 16 + column] = halves[value];
    }
}

/// Arguments of what changes the type of numbers.
struct ConvertArguments
{
    const void* input;
    void* output;
    u64 count;                  // of the input
    u64 padded;                 // of the output; what is beyond the input is zero
};

template <class Type>
ARMOR_DEVICE void narrow(const ConvertArguments& a)
{
    u64 index = static_cast<u64>(ARMOR_BLOCK_X) * 256 + ARMOR_TID;
    if (index < a.padded)
    {
        float value = index < a.count ? static_cast<const float*>(a.input)[index] : 0;
        static_cast<u16*>(a.output)[index] = static_cast<u16>(pack(Type(), value, 0));
    }
}

template <class Type>
ARMOR_DEVICE void widen(const ConvertArguments& a)
{
    u64 index = static_cast<u64>(ARMOR_BLOCK_X) * 256 + ARMOR_TID;
    if (index < a.count)
    {
        static_cast<float*>(a.output)[index] = unpack(Type(), static_cast<const u16*>(a.input)[index]);
    }
}

#define ARMOR_CONVERSIONS(NAME, TYPE) \
    extern "C" __global__ void __launch_bounds__(32) armor_expand_sparse_##NAME(ExpandArguments a) { wait_for_previous_grid(); expand_core<TYPE, false>(a); } \
    extern "C" __global__ void __launch_bounds__(32) armor_expand_int8_##NAME(ExpandArguments a) { wait_for_previous_grid(); expand_core<TYPE, true>(a); } \
    extern "C" __global__ void __launch_bounds__(256) armor_narrow_##NAME(ConvertArguments a) { wait_for_previous_grid(); narrow<TYPE>(a); } \
    extern "C" __global__ void __launch_bounds__(256) armor_widen_##NAME(ConvertArguments a) { wait_for_previous_grid(); widen<TYPE>(a); }

ARMOR_CONVERSIONS(bf16, BFloat16)
ARMOR_CONVERSIONS(f16, Float16)

extern "C" __global__ void __launch_bounds__(32) armor_expand_fragments(ExpandArguments a) { wait_for_previous_grid(); expand_fragment(a); }
