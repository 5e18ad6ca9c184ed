// The plain forms: float32 values, a warp a row and four inputs. For float32 weights, other patterns than 2:4, and wrappers whose blocks no fragment fits.

/// Arguments of a product row by row.
struct RowArguments
{
    const float* values;        // [rows, kept] of a sparse matrix, [rows, columns] of a dense one, [blocks, b, b] of a wrapper
    const u8* offsets;          // [rows, kept], the column within its group of M
    const float* input;         // [batch, columns]
    float* output;              // [batch, rows]
    int rows;
    int columns;
    int kept;                   // values of a row
    int group_kept;             // N
    int group;                  // M
    int block;                  // b
    int batch;
};

constexpr int RowInputs = 4;

/// Kind 0: dense; 1: sparse; 2: block-diagonal.
template <int Kind>
ARMOR_DEVICE void row_product(const RowArguments& a)
{
    let_next_grid_begin();
    wait_for_previous_grid();
    const int lane = ARMOR_TID % 32;
    const int row = ARMOR_BLOCK_X * 4 + ARMOR_TID / 32;
    if (row >= a.rows)
    {
        return;
    }

    const int first = Kind == 2 ? row / a.block * a.block : 0;
    const int first_input = ARMOR_BLOCK_Y * RowInputs;
    const int inputs = a.batch - first_input < RowInputs ? a.batch - first_input : RowInputs;
    const float* x = a.input + static_cast<u64>(first_input) * a.columns + first;
    const float* values = a.values + static_cast<u64>(row) * a.kept;
    const u8* offsets = a.offsets + static_cast<u64>(row) * a.kept;
    float sums[RowInputs] = {};
    for (int k = lane; k < a.kept; k += 32)
    {
        int column = Kind == 1 ? k / a.group_kept * a.group + offsets[k] : k;
        float value = values[k];
#pragma unroll
        for (int i = 0; i < RowInputs; i++)
        {
            if (i < inputs)
            {
                sums[i] += value * load_input(x + static_cast<u64>(i) * a.columns + column);
            }
        }
    }

#pragma unroll
    for (int i = 0; i < RowInputs; i++)
    {
        if (i < inputs)
        {
            float sum = sum_of_warp(sums[i]);
            if (lane == 0)
            {
                a.output[static_cast<u64>(first_input + i) * a.rows + row] = sum;
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(128) armor_rows_dense(RowArguments a) { row_product<0>(a); }
extern "C" __global__ void __launch_bounds__(128) armor_rows_sparse(RowArguments a) { row_product<1>(a); }
extern "C" __global__ void __launch_bounds__(128) armor_rows_blocks(RowArguments a) { row_product<2>(a); }
