namespace Armor.Cuda.Interop;

/// <summary>
/// The functions of cuSPARSELt that we call, each with its status; opaque structures are addresses of memory that the caller holds. The seam at which
/// tests put a library of their own. Signatures are those of 0.5.2 and later.
/// </summary>
internal unsafe interface ISparseLt
{
    int Init(nint handle);

    int Destroy(nint handle);

    int GetVersion(nint handle, out int version);

    int DenseDescriptorInit(nint handle, nint descriptor, long rows, long columns, long leading, uint alignment, int type, int order);

    int StructuredDescriptorInit(nint handle, nint descriptor, long rows, long columns, long leading, uint alignment, int type, int order, int sparsity);

    int MatDescriptorDestroy(nint descriptor);

    int MatmulDescriptorInit(nint handle, nint matmul, int operationA, int operationB, nint a, nint b, nint c, nint d, int computeType);

    int AlgorithmSelectionInit(nint handle, nint selection, nint matmul, int algorithm);

    int AlgorithmSelectionDestroy(nint selection);

    int PlanInit(nint handle, nint plan, nint matmul, nint selection);

    int PlanDestroy(nint plan);

    int GetWorkspace(nint handle, nint plan, out nuint bytes);

    int PruneCheck(nint handle, nint matmul, nint dense, nint valid, nint stream);

    int CompressedSize(nint handle, nint plan, out nuint bytes, out nuint bufferBytes);

    int Compress(nint handle, nint plan, nint dense, nint compressed, nint buffer, nint stream);

    int Search(nint handle, nint plan, float* alpha, nint a, nint b, float* beta, nint c, nint d, nint workspace, nint* streams, int streamCount);

    int Matmul(nint handle, nint plan, float* alpha, nint a, nint b, float* beta, nint c, nint d, nint workspace, nint* streams, int streamCount);

    /// <summary>A status in words.</summary>
    string Describe(int status);
}

/// <summary>Numbers of cuSPARSELt's, cuSPARSE's and CUDA's headers.</summary>
internal static class SparseLtNumbers
{
    public const int OrderColumn = 1; // CUSPARSE_ORDER_COL
    public const int OrderRow = 2; // CUSPARSE_ORDER_ROW
    public const int NotTransposed = 0; // CUSPARSE_OPERATION_NON_TRANSPOSE
    public const int Transposed = 1; // CUSPARSE_OPERATION_TRANSPOSE
    public const int FiftyPercent = 0; // CUSPARSELT_SPARSITY_50_PERCENT
    public const int Compute32F = 2; // CUSPARSE_COMPUTE_32F since 0.5.2
    public const int DefaultAlgorithm = 0; // CUSPARSELT_MATMUL_ALG_DEFAULT
    public const int Real32F = 0; // CUDA_R_32F
    public const int Real16F = 2; // CUDA_R_16F
    public const int Real16BF = 14; // CUDA_R_16BF
}
