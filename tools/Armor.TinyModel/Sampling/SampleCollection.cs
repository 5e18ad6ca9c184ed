using System.Text;
using System.Text.RegularExpressions;
using Armor.Core.Evaluation;
using Armor.Core.Modules;
using Armor.TinyModel.Tokenizers;

namespace Armor.TinyModel.Sampling;

/// <summary>
/// Sampled sequences that are fit to be kept as text: long enough, valid UTF-8, without blanks at the ends or a separator inside, and read
/// by the tokenizer as the very tokens that were drawn. Samples with a period term for a people are left out: single ones stand in the books.
/// </summary>
internal sealed partial class SampleCollection
{
    private const int SequencesATime = 64;

    // Shorter ones end early in a book's last words, and many readers of such collections skip them.
    private const int MinimumCharacters = 200;

    public List<string> Texts { get; } = [];

    public int Drawn { get; private set; }

    public int Short { get; private set; }

    public int Invalid { get; private set; }

    public int Reread { get; private set; }

    public int Unfit { get; private set; }

    /// <summary>Draws until <paramref name="wanted"/> texts are kept.</summary>
    public static SampleCollection Collect(CausalLanguageModel model, BytePairEncoder encoder, int wanted, int length, int seed)
    {
        var random = new Random(seed);
        var collection = new SampleCollection();
        while (collection.Texts.Count < wanted)
        {
            foreach (var tokens in Sampler.Draw(model, SequencesATime, length, random))
            {
                if (collection.Texts.Count < wanted)
                {
                    collection.Add(tokens, encoder);
                }
            }

            Console.WriteLine(collection);
        }

        return collection;
    }

    /// <summary>Writes the texts with a separator line after each.</summary>
    public void Write(string path)
    {
        var text = new StringBuilder();
        foreach (var sample in Texts)
        {
            text.Append(sample).Append('\n').Append(TextCorpus.DefaultSeparator).Append('\n');
        }

        File.WriteAllText(path, text.ToString());
    }

    public override string ToString() =>
        $"{Texts.Count} kept of {Drawn} drawn; left out: {Short} under {MinimumCharacters} characters, {Invalid} no plain text, {Reread} that the tokenizer reads otherwise, {Unfit} with period terms";

    [GeneratedRegex("nigg|negro|injun|squaw|gyps|savage|\\bjew(s|ish|ess)?\\b|chinam[ae]n|blackamoor|heathen|slave", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex PeriodTerms();

    private void Add(int[] tokens, BytePairEncoder encoder)
    {
        Drawn++;
        var text = encoder.Decode(tokens);
        if (text is null || text != text.Trim() || text.Contains(TextCorpus.DefaultSeparator, StringComparison.Ordinal))
        {
            Invalid++;
        }
        else if (text.Length < MinimumCharacters)
        {
            Short++;
        }
        else if (!encoder.Encode(text).SequenceEqual(tokens))
        {
            Reread++;
        }
        else if (PeriodTerms().IsMatch(text))
        {
            Unfit++;
        }
        else
        {
            Texts.Add(text);
        }
    }
}
