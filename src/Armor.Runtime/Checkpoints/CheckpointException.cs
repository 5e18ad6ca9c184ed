namespace Armor.Runtime.Checkpoints;

/// <summary>A checkpoint's file is missing, damaged, or says something that cannot be right; the message names file, place, expected and found.</summary>
public class CheckpointException : IOException
{
    /// <summary>Creates the exception.</summary>
    /// <param name="message">File, tensor or key, expected and found.</param>
    public CheckpointException(string message)
        : base(message)
    {
    }

    /// <summary>Creates the exception with its cause.</summary>
    /// <param name="message">File, tensor or key, expected and found.</param>
    /// <param name="innerException">The cause.</param>
    public CheckpointException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}
