using System.Text;
using System.Text.Json;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Tokenization;

namespace Armor.Runtime.Chat;

/// <summary>Reads the Jinja text of a checkpoint's chat template.</summary>
internal static class ChatTemplateFile
{
    /// <summary>A hundred times the longest published one.</summary>
    private const int MaximumLength = 1 << 20;

    /// <summary>
    /// The text, and the file that has it: <c>chat_template.jinja</c>, which goes before, or <c>tokenizer_config.json</c>. The text is null, and the
    /// file the folder, where there is none.
    /// </summary>
    /// <exception cref="CheckpointException">A file is there and not valid.</exception>
    internal static (string File, string? Text) Read(string folder)
    {
        var jinja = Path.Combine(folder, "chat_template.jinja");
        if (File.Exists(jinja))
        {
            return (jinja, Bounded(jinja, Encoding.UTF8.GetString(Json.ReadFile(jinja))));
        }

        var configuration = Path.Combine(folder, "tokenizer_config.json");
        if (!File.Exists(configuration))
        {
            return (folder, null);
        }

        using var document = TokenizerJson.Parse(configuration);
        var member = new JsonReading(configuration, string.Empty, document.RootElement).Optional("chat_template");
        return member.IsNull ? (folder, null) : (configuration, Bounded(configuration, Text(member)));
    }

    private static string Bounded(string file, string text) => text.Length <= MaximumLength
        ? text
        : throw TokenizerErrors.Create(file, "the chat template is too long", $"at most {MaximumLength} characters", $"{text.Length}");

    /// <summary>A template, or the one called "default" of several.</summary>
    private static string Text(JsonReading member)
    {
        if (member.Element.ValueKind != JsonValueKind.Array)
        {
            return member.AsString();
        }

        foreach (var item in member.Element.EnumerateArray())
        {
            var named = new JsonReading(member.File, member.Place, item);
            if (named.String("name") == "default")
            {
                return named.String("template");
            }
        }

        throw TokenizerErrors.Create(member.File, $"'{member.Place}' has no default template", "one whose name is \"default\"", "none");
    }
}
