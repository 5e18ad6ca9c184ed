namespace Armor.Cuda.Interop;

/// <summary>The functions of cuBLASLt that we call, each with its status. Descriptors are handles.</summary>
internal unsafe interface IBlasLt
{
    int Create(out nint handle);

    int Destroy(nint handle);

    int MatmulDescriptorCreate(out nint descriptor, int computeType, int scaleType);

    int MatmulDescriptorSet(nint descriptor, int attribute, void* value, nuint bytes);

    int MatmulDescriptorDestroy(nint descriptor);

    int LayoutCreate(out nint layout, int type, ulong rows, ulong columns, long leading);

    int LayoutSet(nint layout, int attribute, void* value, nuint bytes);

    int LayoutDestroy(nint layout);

    int PreferenceCreate(out nint preference);

    int PreferenceSet(nint preference, int attribute, void* value, nuint bytes);

    int PreferenceDestroy(nint preference);

    int Heuristic(nint handle, nint descriptor, nint a, nint b, nint c, nint d, nint preference, int wanted, BlasLtHeuristic* results, out int found);

    int Matmul(
        nint handle, nint descriptor, float* alpha, nint a, nint aLayout, nint b, nint bLayout, float* beta, nint c, nint cLayout, nint d, nint dLayout, BlasLtAlgorithm* algorithm,
        nint workspace, nuint workspaceBytes, nint stream);
}

/// <summary>cublasLtMatmulAlgo_t: eight numbers of 64 bits.</summary>
[System.Runtime.CompilerServices.InlineArray(8)]
internal struct BlasLtAlgorithm
{
    private ulong _data;
}

/// <summary>cublasLtMatmulHeuristicResult_t.</summary>
[System.Runtime.InteropServices.StructLayout(System.Runtime.InteropServices.LayoutKind.Sequential)]
internal struct BlasLtHeuristic
{
    public BlasLtAlgorithm Algorithm;
    public nuint WorkspaceBytes;
    public int Status;
    public float Waves;
    public int Reserved0;
    public int Reserved1;
    public int Reserved2;
    public int Reserved3;
}

/// <summary>Numbers of cuBLASLt's headers.</summary>
internal static class BlasLtNumbers
{
    public const int Compute32F = 68; // CUBLAS_COMPUTE_32F
    public const int TransposeA = 3; // CUBLASLT_MATMUL_DESC_TRANSA
    public const int TransposeB = 4; // CUBLASLT_MATMUL_DESC_TRANSB
    public const int BatchCount = 5; // CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT
    public const int BatchStride = 6; // CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET
    public const int MostWorkspace = 1; // CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES
    public const int Transposed = 1; // CUBLAS_OP_T

    public static string Describe(int status) => status switch
    {
        1 => "CUBLAS_STATUS_NOT_INITIALIZED",
        3 => "CUBLAS_STATUS_ALLOC_FAILED",
        7 => "CUBLAS_STATUS_INVALID_VALUE",
        8 => "CUBLAS_STATUS_ARCH_MISMATCH",
        13 => "CUBLAS_STATUS_EXECUTION_FAILED",
        14 => "CUBLAS_STATUS_INTERNAL_ERROR",
        15 => "CUBLAS_STATUS_NOT_SUPPORTED",
        _ => "unknown",
    };
}
