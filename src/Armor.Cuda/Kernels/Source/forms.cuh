// Every matrix lies in memory in the order in which the tensor cores' fragments want it, so that each weight is loaded once, sixteen bytes a thread, a
// whole warp side by side, from memory straight into the registers of the thread that multiplies by it. Fragments are those of the PTX manual for
// mma.m16n8k16 and mma.sp.m16n8k32: a lane is g = lane / 4 and t = lane % 4.
//
// Inputs lie in steps of 32 columns for eight inputs at a time: 32 lanes of sixteen bytes. Lane (g, t) holds of input g the columns 8r + 2t + e of the
// step, r from 0 to 3 and e of 0 and 1, at place 2r + e: the fragment of mma.sp, and that of two mma of 16 columns each.

constexpr int StepColumns = 32;
constexpr int ChunkSteps = 8;
constexpr int TileRows = 16;
constexpr int BlockTiles = 8;
constexpr int BlockRows = TileRows * BlockTiles;
constexpr int Lanes = 32;

/// The sum over a warp, for all its lanes.
ARMOR_DEVICE float sum_of_warp(float value)
{
#pragma unroll
    for (u32 bits = 16; bits > 0; bits /= 2)
    {
        value += from_lane_xor(value, bits);
    }

    return value;
}

/// Where column `column` of input `input` lies, in halves: the order of fragments.
ARMOR_DEVICE u64 place_in_steps(int column, int input, int steps)
{
    int in_step = column % StepColumns;
    u64 lane = (static_cast<u64>(input / 8) * steps + column / StepColumns) * Lanes + input % 8 * 4 + in_step % 8 / 2;
    return lane * 8 + in_step / 8 * 2 + in_step % 2;
}

/// Sixteen-bit values, all of them: 16 mma a chunk.
template <class Type>
struct DenseForm
{
    typedef Type Element;
    struct Chunk { Word4 values[2 * ChunkSteps]; };

    static ARMOR_DEVICE Chunk load(const Word4* weight, u64 index, int lane)
    {
        const Word4* from = weight + index * (2 * ChunkSteps * Lanes) + lane;
        Chunk chunk;
#pragma unroll
        for (int i = 0; i < 2 * ChunkSteps; i++)
        {
            chunk.values[i] = load_stream(from + i * Lanes);
        }

        return chunk;
    }

    template <int Step>
    static ARMOR_DEVICE void multiply(const Chunk& chunk, Word4 input, float (&sums)[4])
    {
        multiply_dense(Type(), sums, chunk.values[2 * Step], input.x, input.y);
        multiply_dense(Type(), sums, chunk.values[2 * Step + 1], input.z, input.w);
    }

    static constexpr bool IsScaled = false;
    static constexpr bool IsFetchedAhead = false; // two chunks would not fit into the registers; one alone is 8 KiB a warp
};

/// The word of a chunk's four that holds the places of a step's kept values.
template <int Step>
ARMOR_DEVICE u32 places_of(Word4 places)
{
    return Step / 2 == 0 ? places.x : Step / 2 == 1 ? places.y : Step / 2 == 2 ? places.z : places.w;
}

/// 2:4 with values of sixteen bits: 8 mma.sp a chunk, 4608 bytes.
template <class Type>
struct SparseForm
{
    typedef Type Element;
    struct Chunk { Word4 values[ChunkSteps]; Word4 places; };

    static ARMOR_DEVICE Chunk load(const Word4* weight, u64 index, int lane)
    {
        const Word4* from = weight + index * ((ChunkSteps + 1) * Lanes) + lane;
        Chunk chunk;
#pragma unroll
        for (int i = 0; i < ChunkSteps; i++)
        {
            chunk.values[i] = load_stream(from + i * Lanes);
        }

        chunk.places = load_stream(from + ChunkSteps * Lanes);
        return chunk;
    }

    template <int Step>
    static ARMOR_DEVICE void multiply(const Chunk& chunk, Word4 input, float (&sums)[4])
    {
        multiply_sparse<Step % 2>(Type(), sums, chunk.values[Step], input, places_of<Step>(chunk.places));
    }

    static constexpr bool IsScaled = false;
    static constexpr bool IsFetchedAhead = true;
};

/// 2:4 with values of eight bits, 128 added, and a scale for each row of a chunk: 2592 bytes. Whole numbers up to 127 are exact in either type.
template <class Type>
struct Int8Form
{
    typedef Type Element;
    struct Chunk { Word4 values[ChunkSteps / 2]; Word4 places; float scales[2]; };

    static ARMOR_DEVICE Chunk load(const Word4* weight, u64 index, int lane)
    {
        const Word4* chunk_start = weight + index * ((ChunkSteps / 2 + 1) * Lanes + 2);
        const Word4* from = chunk_start + lane;
        Chunk chunk;
#pragma unroll
        for (int i = 0; i < ChunkSteps / 2; i++)
        {
            chunk.values[i] = load_stream(from + i * Lanes);
        }

        chunk.places = load_stream(from + ChunkSteps / 2 * Lanes);
        const u16* scales = reinterpret_cast<const u16*>(chunk_start + (ChunkSteps / 2 + 1) * Lanes);
        chunk.scales[0] = bits_to_float(static_cast<u32>(scales[lane / 4]) << 16);
        chunk.scales[1] = bits_to_float(static_cast<u32>(scales[lane / 4 + 8]) << 16);
        return chunk;
    }

    template <int Step>
    static ARMOR_DEVICE void multiply(const Chunk& chunk, Word4 input, float (&sums)[4])
    {
        Word4 two = chunk.values[Step / 2];
        u32 low = Step % 2 == 0 ? two.x : two.z;
        u32 high = Step % 2 == 0 ? two.y : two.w;
        Word4 values = { halves<0>(low), halves<2>(low), halves<0>(high), halves<2>(high) };
        multiply_sparse<Step % 2>(Type(), sums, values, input, places_of<Step>(chunk.places));
    }

    static ARMOR_DEVICE void add_scaled(const Chunk& chunk, float (&sums)[4], const float (&of_chunk)[4])
    {
        sums[0] += chunk.scales[0] * of_chunk[0];
        sums[1] += chunk.scales[0] * of_chunk[1];
        sums[2] += chunk.scales[1] * of_chunk[2];
        sums[3] += chunk.scales[1] * of_chunk[3];
    }

    static constexpr bool IsScaled = true;
    static constexpr bool IsFetchedAhead = true;

private:
    template <int First>
    static ARMOR_DEVICE u32 halves(u32 bytes)
    {
        return pack(Type(), number<First>(bytes), number<First + 1>(bytes));
    }

    /// A byte in the low bits of 2^23: exact, and no conversion, which is slow.
    template <int Byte>
    static ARMOR_DEVICE float number(u32 bytes)
    {
        return bits_to_float(permute_bytes(bytes, 0x4b000000u, 0x7540u + Byte)) - 8388736.0f;
    }
};
