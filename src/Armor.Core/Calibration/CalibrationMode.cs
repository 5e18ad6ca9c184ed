namespace Armor.Core.Calibration;

/// <summary>Whose activations a linear is pruned on.</summary>
public enum CalibrationMode
{
    /// <summary>
    /// Each group of linears sees the outputs of everything that is already pruned before it, inside the decoder layer too: q, k, v; then o;
    /// then gate, up; then down.
    /// </summary>
    Sequential,

    /// <summary>Every linear sees the dense model's activations, as in arXiv 2510.05528: one pass, weights prune independently.</summary>
    Dense,
}
