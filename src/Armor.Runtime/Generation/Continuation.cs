using Armor.Runtime.Generation.Sampling;
using Armor.Runtime.Models;

namespace Armor.Runtime.Generation;

/// <summary>One sequence's way from logits to tokens and text, and to its end.</summary>
internal sealed class Continuation
{
    private readonly ModelConfiguration _configuration;
    private readonly GenerationOptions _options;
    private readonly TokenSampler _sampler;
    private readonly GeneratedText? _text;
    private readonly int _promptTokens;
    private int _generated;

    /// <param name="configuration">The model's.</param>
    /// <param name="prompt">What is continued.</param>
    /// <param name="options">Valid ones.</param>
    /// <param name="text">Null where no text is wanted.</param>
    public Continuation(ModelConfiguration configuration, ReadOnlySpan<int> prompt, GenerationOptions options, GeneratedText? text)
    {
        _configuration = configuration;
        _options = options;
        _sampler = new TokenSampler(options, configuration.VocabularySize, prompt);
        _text = text;
        _promptTokens = prompt.Length;
    }

    /// <summary>Whether the next token is always that of the highest logit, so that no other logit matters.</summary>
    public bool IsGreedy => IsGreedyBy(_options);

    /// <summary><see cref="IsGreedy"/> of every sequence with these options.</summary>
    public static bool IsGreedyBy(GenerationOptions options) => options.Temperature == 0 && options.RepetitionPenalty == 1;

    /// <summary>Chooses the next token.</summary>
    /// <param name="logits">[vocabulary]; changed by the sampler.</param>
    public GenerationUpdate Accept(Span<float> logits) => Accept(_sampler.Next(logits));

    /// <summary>Takes the next token, chosen elsewhere.</summary>
    /// <param name="token">Of the highest logit, see <see cref="IsGreedy"/>.</param>
    public GenerationUpdate Accept(int token)
    {
        if ((_options.StopAtEndOfSequence && _configuration.EndOfSequence.Contains(token)) || _options.StopTokens.Contains(token))
        {
            return new GenerationUpdate(null, _text?.Finish() ?? string.Empty, FinishReason.EndOfSequence, _promptTokens, _generated);
        }

        _generated++;
        var text = _text?.Append(token) ?? string.Empty;
        FinishReason? reason = _text?.IsStopped == true ? FinishReason.StopString
            : _generated == _options.MaxTokens ? FinishReason.MaxTokens
            : _promptTokens + _generated > _configuration.ContextLength ? FinishReason.ContextFull
            : null;
        if (_text is not null && reason is not null and not FinishReason.StopString)
        {
            text += _text.Finish();
            reason = _text.IsStopped ? FinishReason.StopString : reason;
        }

        return new GenerationUpdate(token, text, reason, _promptTokens, _generated);
    }
}
