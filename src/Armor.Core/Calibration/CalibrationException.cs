namespace Armor.Core.Calibration;

/// <summary>Calibration cannot go on: no usable text, a context that is too short, or activations that are not finite.</summary>
public sealed class CalibrationException : Exception
{
    /// <summary>Creates the exception.</summary>
    /// <param name="message">What was expected, what was found, and where.</param>
    /// <param name="innerException">The cause, if another exception led here.</param>
    public CalibrationException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}
