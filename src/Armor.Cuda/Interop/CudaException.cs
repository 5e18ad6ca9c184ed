namespace Armor.Cuda;

/// <summary>A call of the driver or of one of NVIDIA's libraries failed; the message names the call, the status and what it means.</summary>
public sealed class CudaException : Exception
{
    /// <summary>Describes a failure.</summary>
    /// <param name="message">The call, the status and what it means.</param>
    public CudaException(string message)
        : base(message)
    {
    }

    /// <summary>Describes a failure.</summary>
    /// <param name="message">The call, the status and what it means.</param>
    /// <param name="innerException">What went wrong below.</param>
    public CudaException(string message, Exception innerException)
        : base(message, innerException)
    {
    }

    /// <summary>Describes a status other than success.</summary>
    /// <param name="call">The function, such as cuMemAlloc.</param>
    /// <param name="status">What it returned.</param>
    /// <param name="meaning">The status in words.</param>
    /// <param name="detail">What the call was for, with sizes; may be empty.</param>
    internal CudaException(string call, int status, string meaning, string detail = "")
        : base($"{call}{(detail.Length > 0 ? $" ({detail})" : "")} failed with status {status}: {meaning}.")
    {
        Call = call;
        Status = status;
    }

    /// <summary>Whether the card has too little memory left (CUDA_ERROR_OUT_OF_MEMORY of an allocation).</summary>
    internal bool IsOutOfMemory => Call == "cuMemAlloc" && Status == 2;

    /// <summary>The function that failed; null where none was reached.</summary>
    public string? Call { get; }

    /// <summary>The status that it returned; 0 where none was reached.</summary>
    public int Status { get; }
}
