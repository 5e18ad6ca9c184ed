using System.Text.RegularExpressions;
using Armor.Runtime.Tokenization;

namespace Armor.Runtime.Chat;

/// <summary>Tells by its marks which template a Jinja text is. The text is never run.</summary>
internal static partial class TemplateRecognition
{
    /// <summary>What is looked for, for an error message.</summary>
    internal const string Known =
        "that of Llama 3 (<|start_header_id|>, <|eot_id|>), Qwen's ChatML (<|im_start|>, <|im_end|>), that of Gemma (<start_of_turn>, "
        + "<end_of_turn>) or that of Llama 2 ([INST], <<SYS>>)";

    private static readonly HashSet<string> KnownRoles = ["system", "user", "assistant", "tool", "ipython"];

    /// <summary>The template that a Jinja text is, or null.</summary>
    internal static IChatTemplate? OfText(string text)
    {
        if (Has("<|start_header_id|>") && Has("<|eot_id|>"))
        {
            return !HasOnlyKnownRoles(LlamaRole, text) ? null : Has("Cutting Knowledge Date") ? Llama3Template.Dated : new Llama3Template();
        }

        // Phi 4 has the same marks around its turns, but <|im_sep|> between role and text.
        if (Has("<|im_start|>") && Has("<|im_end|>") && !Has("<|im_sep|>"))
        {
            return HasOnlyKnownRoles(ChatMLRole, text) ? ChatML(text) : null;
        }

        if (Has("<start_of_turn>") && Has("<end_of_turn>"))
        {
            // Gemma 1 and 2 raise an exception for a system's turn; Gemma 3 puts it before the first question.
            return new GemmaTemplate { PutsSystemIntoQuestion = Has("first_user_prefix") };
        }

        // Mistral writes [INST] too, but has no <<SYS>>, and spaces elsewhere.
        return Has("[INST]") && Has("<<SYS>>") ? new Llama2Template() : null;

        bool Has(string mark) => text.Contains(mark, StringComparison.Ordinal);
    }

    /// <summary>The template whose special tokens a tokenizer has, or null.</summary>
    internal static IChatTemplate? OfSpecialTokens(ModelTokenizer tokenizer)
    {
        if (Has("<|start_header_id|>") && Has("<|eot_id|>"))
        {
            return new Llama3Template();
        }

        return Has("<|im_start|>") && Has("<|im_end|>") ? new ChatMLTemplate() : null;

        bool Has(string token) => tokenizer.SpecialTokens.ContainsKey(token);
    }

    private static ChatMLTemplate ChatML(string text)
    {
        var system = DefaultSystem.Match(text);
        return new ChatMLTemplate
        {
            DefaultSystem = system.Success ? Unescape(system.Groups["words"].Value) : null,
            StartsWithBeginOfSequence = text.Contains("bos_token", StringComparison.Ordinal),
            LeavesOutReasoning = text.Contains("split('</think>')", StringComparison.Ordinal),
            AnswerStart = ReasoningAnswer.IsMatch(text) ? "<think>\n" : string.Empty,
        };
    }

    private static bool HasOnlyKnownRoles(Regex role, string text) =>
        role.Matches(text).All(match => KnownRoles.Contains(match.Groups["role"].Value));

    private static string Unescape(string words) => words.Replace("\\n", "\n", StringComparison.Ordinal).Replace("\\'", "'", StringComparison.Ordinal);

    [GeneratedRegex(@"<\|start_header_id\|>(?<role>\w+)", RegexOptions.CultureInvariant)]
    private static partial Regex LlamaRole { get; }

    [GeneratedRegex(@"<\|im_start\|>(?<role>\w+)", RegexOptions.CultureInvariant)]
    private static partial Regex ChatMLRole { get; }

    /// <summary>A system's turn that is written out, rather than put together from a message.</summary>
    [GeneratedRegex(@"<\|im_start\|>system(\\n|\n)(?<words>([^<>{}'\\]|\\n|\\')+)<\|im_end\|>", RegexOptions.CultureInvariant)]
    private static partial Regex DefaultSystem { get; }

    /// <summary>The start of an answer that always reasons.</summary>
    [GeneratedRegex(@"<\|im_start\|>assistant(\\n|\n)<think>(\\n|\n)'", RegexOptions.CultureInvariant)]
    private static partial Regex ReasoningAnswer { get; }
}
