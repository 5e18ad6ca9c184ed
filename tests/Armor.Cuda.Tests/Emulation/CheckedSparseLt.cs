using Armor.Cuda.Interop;
using Armor.Cuda.Prefill;

namespace Armor.Cuda.Tests.Emulation;

/// <summary>
/// A cuSPARSELt that records its calls, holds them against the rules of its documentation, and computes: layouts, orders and transpositions are taken from
/// the descriptors, so that a wrong one gives a wrong product. Its device is this machine.
/// </summary>
internal sealed unsafe class CheckedSparseLt(int version = 801) : ISparseLt
{
    private const int InvalidValue = 3;
    private const int NotSupported = 10;
    private const uint WorkspaceBytes = 4096;

    private readonly Dictionary<nint, object> _live = [];

    private sealed record Handle;

    private sealed record Matrix(long Rows, long Columns, long Leading, int Type, int Order, bool IsSparse)
    {
        public ushort At(ushort* values, long row, long column)
            => Order == SparseLtNumbers.OrderRow ? values[(row * Leading) + column] : values[(column * Leading) + row];
    }

    private sealed record Operation(int OperationA, int OperationB, Matrix A, Matrix B, Matrix D);

    private sealed record Selection(Operation Operation);

    private sealed record Plan(Operation Operation)
    {
        public bool IsSearched { get; set; }

        public uint Workspace { get; set; }
    }

    /// <summary>Calls in order.</summary>
    public List<string> Calls { get; } = [];

    /// <summary>Rules that were broken.</summary>
    public List<string> Violations { get; } = [];

    /// <summary>Structures that nobody has destroyed.</summary>
    public int Live => _live.Values.Count(value => value is not Operation);

    /// <summary>A call that is to fail.</summary>
    public string? Failing { get; set; }

    public int Init(nint handle) => Make("Init", handle, new Handle(), isNew: true);

    public int Destroy(nint handle) => End<Handle>("Destroy", handle);

    public int GetVersion(nint handle, out int found)
    {
        found = version;
        return Uses<Handle>("GetVersion", handle, out _);
    }

    public int DenseDescriptorInit(nint handle, nint descriptor, long rows, long columns, long leading, uint alignment, int type, int order)
        => Descriptor("DenseDescriptorInit", handle, descriptor, new Matrix(rows, columns, leading, type, order, false), alignment, 8);

    public int StructuredDescriptorInit(nint handle, nint descriptor, long rows, long columns, long leading, uint alignment, int type, int order, int sparsity)
    {
        Rule(sparsity == SparseLtNumbers.FiftyPercent, "sparsity is not 50 %");
        return Descriptor("StructuredDescriptorInit", handle, descriptor, new Matrix(rows, columns, leading, type, order, true), alignment, 16);
    }

    public int MatDescriptorDestroy(nint descriptor) => End<Matrix>("MatDescriptorDestroy", descriptor);

    public int MatmulDescriptorInit(nint handle, nint matmul, int operationA, int operationB, nint a, nint b, nint c, nint d, int computeType)
    {
        if (Uses<Handle>("MatmulDescriptorInit", handle, out _) is not 0 and var status)
        {
            return status;
        }

        if (!Find(a, out Matrix? left) || !Find(b, out Matrix? right) || !Find(c, out Matrix? added) || !Find(d, out Matrix? result))
        {
            return InvalidValue;
        }

        Rule(left.IsSparse && !right.IsSparse && !result.IsSparse, "the left matrix alone is sparse");
        Rule(added == result, "C and D differ");
        Rule(computeType == SparseLtNumbers.Compute32F, "16-bit types are computed in 32F");
        Rule(operationA == SparseLtNumbers.NotTransposed || left.Order == SparseLtNumbers.OrderColumn, "a row-major sparse matrix is not transposed");
        var (inner, inputs) = operationB == SparseLtNumbers.Transposed ? (right.Columns, right.Rows) : (right.Rows, right.Columns);
        Rule(left.Columns == inner && result.Rows == left.Rows && result.Columns == inputs, "sizes do not fit each other");
        return Make("MatmulDescriptorInit", matmul, new Operation(operationA, operationB, left, right, result));
    }

    public int AlgorithmSelectionInit(nint handle, nint selection, nint matmul, int algorithm)
        => Uses<Handle>("AlgorithmSelectionInit", handle, out _) is not 0 and var status ? status
            : Find(matmul, out Operation? operation) ? Make("AlgorithmSelectionInit", selection, new Selection(operation)) : InvalidValue;

    public int AlgorithmSelectionDestroy(nint selection) => End<Selection>("AlgorithmSelectionDestroy", selection);

    public int PlanInit(nint handle, nint plan, nint matmul, nint selection)
    {
        if (Uses<Handle>("PlanInit", handle, out _) is not 0 and var status)
        {
            return status;
        }

        if (!Find(matmul, out Operation? operation) || !Find(selection, out Selection? selected))
        {
            return InvalidValue;
        }

        Rule(ReferenceEquals(selected.Operation, operation), "the selection is of another product");
        return Make("PlanInit", plan, new Plan(operation));
    }

    public int PlanDestroy(nint plan) => End<Plan>("PlanDestroy", plan);

    public int GetWorkspace(nint handle, nint plan, out nuint bytes)
    {
        bytes = 0;
        if (Uses<Plan>("GetWorkspace", plan, out var own) is not 0 and var status)
        {
            return status;
        }

        // The algorithm that a search leaves wants more.
        own!.Workspace = own.IsSearched ? WorkspaceBytes : 16;
        bytes = own.Workspace;
        return 0;
    }

    public int PruneCheck(nint handle, nint matmul, nint dense, nint valid, nint stream)
    {
        if (Uses<Operation>("PruneCheck", matmul, out var operation) is not 0 and var status)
        {
            return status;
        }

        var matrix = operation!.A;
        *(int*)valid = 0;
        for (long row = 0; row < matrix.Rows; row++)
        {
            for (long group = 0; group < matrix.Columns; group += 4)
            {
                var kept = Enumerable.Range(0, 4).Count(i => matrix.At((ushort*)dense, row, group + i) != 0);
                *(int*)valid |= kept > 2 ? 1 : 0;
            }
        }

        return 0;
    }

    public int CompressedSize(nint handle, nint plan, out nuint bytes, out nuint bufferBytes)
    {
        (bytes, bufferBytes) = (0, 0);
        if (Uses<Plan>("CompressedSize", plan, out var own) is not 0 and var status)
        {
            return status;
        }

        // Not compressed here: the dense values, and something beside them as with the library.
        (bytes, bufferBytes) = ((nuint)(own!.Operation.A.Rows * own.Operation.A.Columns * 2) + 64, 32);
        return 0;
    }

    public int Compress(nint handle, nint plan, nint dense, nint compressed, nint buffer, nint stream)
    {
        if (Uses<Plan>("Compress", plan, out var own) is not 0 and var status)
        {
            return status;
        }

        Rule(Calls.Contains("PruneCheck"), "compressed without a check of the pattern");
        Rule(dense % 16 == 0 && compressed % 16 == 0 && buffer != 0, "memory to compress is not aligned to 16");
        var bytes = own!.Operation.A.Rows * own.Operation.A.Columns * 2;
        Buffer.MemoryCopy((void*)dense, (void*)compressed, bytes, bytes);
        new Span<byte>((void*)buffer, 32).Clear();
        return 0;
    }

    public int Search(nint handle, nint plan, float* alpha, nint a, nint b, float* beta, nint c, nint d, nint workspace, nint* streams, int streamCount)
    {
        if (Uses<Plan>("Search", plan, out var own) is not 0 and var status)
        {
            return status;
        }

        Rule(!own!.IsSearched, "searched twice");
        Rule(workspace != 0, "a search without a workspace");
        own.IsSearched = true;
        own.Workspace = 0; // to be asked for again
        return Product(own.Operation, *alpha, a, b, *beta, d, streamCount);
    }

    public int Matmul(nint handle, nint plan, float* alpha, nint a, nint b, float* beta, nint c, nint d, nint workspace, nint* streams, int streamCount)
    {
        if (Uses<Plan>("Matmul", plan, out var own) is not 0 and var status)
        {
            return status;
        }

        Rule(own!.IsSearched, "multiplied before a search");
        Rule(own.Workspace == WorkspaceBytes && workspace != 0, "the workspace is not that of the plan as it is after the search");
        if (workspace != 0)
        {
            new Span<byte>((void*)workspace, (int)own.Workspace).Fill(0x11);
        }

        return Product(own.Operation, *alpha, a, b, *beta, d, streamCount);
    }

    public string Describe(int status) => $"CUSPARSE_STATUS_{status}";

    private int Product(Operation operation, float alpha, nint a, nint b, float beta, nint d, int streamCount)
    {
        Rule(streamCount == 1, "one stream");
        Rule(alpha == 1 && beta == 0, "alpha and beta");
        Rule(a % 16 == 0 && b % 16 == 0 && d % 16 == 0, "operands are not aligned to 16");
        var isBFloat = operation.A.Type == SparseLtNumbers.Real16BF;
        for (long row = 0; row < operation.D.Rows; row++)
        {
            for (long column = 0; column < operation.D.Columns; column++)
            {
                double sum = 0;
                for (long k = 0; k < operation.A.Columns; k++)
                {
                    var left = operation.A.At((ushort*)a, row, k);
                    if (left != 0)
                    {
                        var right = operation.OperationB == SparseLtNumbers.Transposed ? operation.B.At((ushort*)b, column, k) : operation.B.At((ushort*)b, k, column);
                        sum += (double)CheckedBlasLt.ToFloat(left, isBFloat) * CheckedBlasLt.ToFloat(right, isBFloat);
                    }
                }

                var place = operation.D.Order == SparseLtNumbers.OrderRow ? (row * operation.D.Leading) + column : (column * operation.D.Leading) + row;
                ((ushort*)d)[place] = CheckedBlasLt.FromFloat((float)sum, isBFloat);
            }
        }

        return 0;
    }

    private int Descriptor(string call, nint handle, nint descriptor, Matrix matrix, uint alignment, int multiple)
    {
        if (Uses<Handle>(call, handle, out _) is not 0 and var status)
        {
            return status;
        }

        if (matrix.Rows % multiple != 0 || matrix.Columns % multiple != 0)
        {
            return NotSupported;
        }

        Rule(alignment is 16, "alignment is not 16");
        Rule(matrix.Leading >= (matrix.Order == SparseLtNumbers.OrderRow ? matrix.Columns : matrix.Rows), "the leading dimension is below a row's");
        return Make(call, descriptor, matrix);
    }

    /// <summary>A structure that the library fills in, all of it as the newest version with the largest one does.</summary>
    private int Make(string call, nint structure, object value, bool isNew = false)
    {
        if (isNew)
        {
            Calls.Add(call);
            if (Failing == call)
            {
                return InvalidValue;
            }
        }

        Rule(structure % OpaqueStructure.Alignment == 0, $"{call}: a structure is not aligned");
        if (_live.GetValueOrDefault(structure) is Operation)
        {
            // Nothing destroys the description of a product: its memory may serve again.
            _live.Remove(structure);
        }

        Rule(_live.TryAdd(structure, value), $"{call}: a structure is filled in twice");
        new Span<byte>((void*)structure, 11024).Fill(0x77);
        return 0;
    }

    private int Uses<T>(string call, nint structure, out T? value)
        where T : class
    {
        Calls.Add(call);
        value = null;
        return Failing == call ? InvalidValue : Find(structure, out value) ? 0 : InvalidValue;
    }

    private bool Find<T>(nint structure, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out T? value)
        where T : class
    {
        value = _live.GetValueOrDefault(structure) as T;
        Rule(value is not null, $"a {typeof(T).Name} is used that is none, or no longer");
        return value is not null;
    }

    private int End<T>(string call, nint structure)
        where T : class
    {
        Calls.Add(call);
        Rule(Find<T>(structure, out _) && _live.Remove(structure), $"{call}: destroyed twice");
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
