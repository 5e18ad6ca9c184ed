using System.Text.RegularExpressions;
using Armor.Runtime.Tokenization;

namespace Armor.Runtime.Chat;

/// <summary>Tells by its marks which template a Jinja text is. The text is never run.</summary>
internal static partial class TemplateRecognition
{
    /// <summary>What is looked for, for an error message.</summary>
    internal const string Known =
        "that of Llama 3 (<|start_header_id|>, <|eot_id|>), Qwen's ChatML (<|im_start|>, <|im_end|>), that of Gemma (<start_of_turn>, "
        + "<end_of_turn>), Phi 3 (<|assistant|>, <|end|>), Llama 2 ([INST], <<SYS>>) or Mistral up to version 3 ([INST], [/INST])";

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

        // Zephyr and others have Phi's marks around its turns, but end them with the end of the sequence.
        if (Has("<|assistant|>") && Has("<|end|>"))
        {
            return Phi3(text);
        }

        // Mistral writes [INST] too, but has no <<SYS>>, and spaces elsewhere.
        return !Has("[INST]") ? null : Has("<<SYS>>") ? new Llama2Template() : Mistral(text);

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

    private static Phi3Template? Phi3(string text)
    {
        // Phi 4 mini writes '<|' + message['role'] + '|>' and no line break after it.
        var marks = PhiMark.Matches(text);
        return !marks.All(match => KnownRoles.Contains(match.Groups["role"].Value)) ? null : new Phi3Template
        {
            HasLineBreaks = marks.Any(match => match.Groups["break"].Success),
            StartsWithBeginOfSequence = text.Contains("bos_token", StringComparison.Ordinal),
            HasSystem = text.Contains("system", StringComparison.Ordinal) || PhiAnyRole.IsMatch(text),
        };
    }

    /// <summary>Mistral's template, whose versions differ in the white space beside the marks and in where the system's words stand.</summary>
    private static MistralTemplate? Mistral(string text)
    {
        var (question, answerMark, answer) = (MistralQuestion.Match(text), MistralAnswerMark.Match(text), MistralAnswer.Match(text));
        if (!question.Success || !answerMark.Success || !answer.Success || text.Contains("[SYSTEM_PROMPT]", StringComparison.Ordinal))
        {
            return null;
        }

        return new MistralTemplate
        {
            SystemPlace = !text.Contains("system_message", StringComparison.Ordinal) ? MistralSystemPlace.Nowhere
                : MistralFirst.IsMatch(text) ? MistralSystemPlace.FirstQuestion
                : MistralSystemPlace.LastQuestion,
            SpaceBeforeQuestionMark = question.Groups["before"].Length > 0,
            SpaceBeforeQuestion = question.Groups["after"].Length > 0,
            SpaceBeforeAnswerMark = answerMark.Groups["before"].Length > 0,
            SpaceAfterAnswerMark = answerMark.Groups["after"].Length > 0,
            SpaceBeforeAnswer = answer.Groups["before"].Success,
            TrimsAnswers = answer.Groups["trim"].Success,
            SpaceAfterAnswer = answer.Groups["after"].Success,
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

    /// <summary>A mark of a turn, with the line break after it where there is one: within the quotes, or added in quotes of its own.</summary>
    [GeneratedRegex(@"<\|(?!/)(?<role>(?!end\|)(?!tool\|)(?!endoftext\|)\w+)\|>('\s*\+\s*')?(?<break>\\n|\n)?", RegexOptions.CultureInvariant)]
    private static partial Regex PhiMark { get; }

    /// <summary>A mark put together from a message's role.</summary>
    [GeneratedRegex(@"'<\|'\s*\+\s*message\['role'\]\s*\+\s*'\|>", RegexOptions.CultureInvariant)]
    private static partial Regex PhiAnyRole { get; }

    [GeneratedRegex(@"['""](?<before> ?)\[INST\](?<after> ?)['""]\s*\+", RegexOptions.CultureInvariant)]
    private static partial Regex MistralQuestion { get; }

    [GeneratedRegex(@"\+\s*['""](?<before> ?)\[/INST\](?<after> ?)['""]", RegexOptions.CultureInvariant)]
    private static partial Regex MistralAnswerMark { get; }

    /// <summary>What an assistant's message becomes: its text, perhaps trimmed, and the end of the sequence.</summary>
    [GeneratedRegex(
        @"(?<before>['""] ['""]\s*\+\s*)?message\[['""]content['""]\](?<trim>\s*\|\s*trim)?\s*\+\s*eos_token(?<after>\s*\+\s*['""] ['""])?",
        RegexOptions.CultureInvariant)]
    private static partial Regex MistralAnswer { get; }

    /// <summary>The condition under which the system's words are written.</summary>
    [GeneratedRegex(@"(loop\.first|loop\.index0\s*==\s*0)\s+and\s+system_message", RegexOptions.CultureInvariant)]
    private static partial Regex MistralFirst { get; }

    /// <summary>The start of an answer that always reasons.</summary>
    [GeneratedRegex(@"<\|im_start\|>assistant(\\n|\n)<think>(\\n|\n)'", RegexOptions.CultureInvariant)]
    private static partial Regex ReasoningAnswer { get; }
}
