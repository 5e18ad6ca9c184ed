namespace Armor.Core.Evaluation.Tasks.Data;

/// <summary>A task's data is missing or breaks its layout.</summary>
public sealed class TaskDataException : Exception
{
    /// <summary>Creates the exception.</summary>
    /// <param name="message">The file, the row, the field, what was expected and what was found.</param>
    /// <param name="inner">What a reader said.</param>
    public TaskDataException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}
