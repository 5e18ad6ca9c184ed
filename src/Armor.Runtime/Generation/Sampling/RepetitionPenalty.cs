namespace Armor.Runtime.Generation.Sampling;

/// <summary>Makes tokens that the sequence has already less likely, each once however often it comes. For one sequence.</summary>
internal sealed class RepetitionPenalty
{
    private readonly double _penalty;
    private readonly int _window;
    private readonly List<int> _tokens;
    private readonly int[] _lastPass;
    private int _pass;

    /// <param name="penalty">See <see cref="GenerationOptions.RepetitionPenalty"/>.</param>
    /// <param name="window">How many of the latest tokens count; null for all.</param>
    /// <param name="vocabulary">Number of tokens.</param>
    /// <param name="prompt">The sequence's start.</param>
    public RepetitionPenalty(double penalty, int? window, int vocabulary, ReadOnlySpan<int> prompt)
    {
        _penalty = penalty;
        _window = window ?? int.MaxValue;
        _tokens = [.. prompt];
        _lastPass = new int[vocabulary];
    }

    /// <summary>Adds a token to the sequence.</summary>
    public void Append(int token) => _tokens.Add(token);

    /// <summary>Changes the logits of the sequence's tokens.</summary>
    /// <param name="logits">[vocabulary].</param>
    public void Apply(Span<float> logits)
    {
        _pass++;
        for (var i = Math.Max(0, _tokens.Count - _window); i < _tokens.Count; i++)
        {
            var token = _tokens[i];
            if (_lastPass[token] != _pass)
            {
                _lastPass[token] = _pass;
                logits[token] = (float)(logits[token] > 0 ? logits[token] / _penalty : logits[token] * _penalty);
            }
        }
    }
}
