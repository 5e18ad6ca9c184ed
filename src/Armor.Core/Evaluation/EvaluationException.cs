namespace Armor.Core.Evaluation;

/// <summary>Nothing can be measured: no text, a context that is too short, or a model whose outputs are not finite.</summary>
public sealed class EvaluationException : Exception
{
    /// <summary>Creates the exception.</summary>
    /// <param name="message">What was expected, what was found, and where.</param>
    public EvaluationException(string message)
        : base(message)
    {
    }
}
