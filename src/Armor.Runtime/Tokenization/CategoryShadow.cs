using System.Globalization;

namespace Armor.Runtime.Tokenization;

/// <summary>
/// .NET's regular expressions see UTF-16: a letter above U+FFFF looks to them like two surrogates and no letter. The shadow of a text has,
/// for every such code point, one character of the same general category, so that <c>\p{L}</c> and <c>{1,3}</c> mean code points.
/// </summary>
internal readonly struct CategoryShadow
{
    private readonly int[]? starts;

    private CategoryShadow(string text, int[]? starts)
    {
        Text = text;
        this.starts = starts;
    }

    /// <summary>The text to match against.</summary>
    internal string Text { get; }

    internal static CategoryShadow Of(string text)
    {
        if (text.AsSpan().IndexOfAnyInRange('\uD800', '\uDFFF') < 0)
        {
            return new CategoryShadow(text, null);
        }

        var characters = new List<char>(text.Length);
        var starts = new List<int>(text.Length + 1);
        for (int index = 0; index < text.Length; index++)
        {
            starts.Add(index);
            bool pair = char.IsHighSurrogate(text[index]) && index + 1 < text.Length && char.IsLowSurrogate(text[index + 1]);
            characters.Add(pair ? Representative(CharUnicodeInfo.GetUnicodeCategory(text, index)) : text[index]);
            index += pair ? 1 : 0;
        }

        starts.Add(text.Length);
        return new CategoryShadow(new string([.. characters]), [.. starts]);
    }

    /// <summary>The place in the text of a place in the shadow.</summary>
    internal int ToOriginal(int index) => starts is null ? index : starts[index];

    private static char Representative(UnicodeCategory category) => category switch
    {
        UnicodeCategory.UppercaseLetter => '\u0100',
        UnicodeCategory.LowercaseLetter => '\u0101',
        UnicodeCategory.TitlecaseLetter => '\u01C5',
        UnicodeCategory.ModifierLetter => '\u02B0',
        UnicodeCategory.OtherLetter => '\uA000',
        UnicodeCategory.NonSpacingMark => '\u0300',
        UnicodeCategory.SpacingCombiningMark => '\u0903',
        UnicodeCategory.EnclosingMark => '\u0488',
        UnicodeCategory.DecimalDigitNumber => '\u0660',
        UnicodeCategory.LetterNumber => '\u2160',
        UnicodeCategory.OtherNumber => '\u00B2',
        UnicodeCategory.ConnectorPunctuation => '\u203F',
        UnicodeCategory.DashPunctuation => '\u2010',
        UnicodeCategory.OpenPunctuation => '\u2045',
        UnicodeCategory.ClosePunctuation => '\u2046',
        UnicodeCategory.InitialQuotePunctuation => '\u00AB',
        UnicodeCategory.FinalQuotePunctuation => '\u00BB',
        UnicodeCategory.OtherPunctuation => '\u2020',
        UnicodeCategory.MathSymbol => '\u2200',
        UnicodeCategory.CurrencySymbol => '\u20AC',
        UnicodeCategory.ModifierSymbol => '\u02C2',
        UnicodeCategory.OtherSymbol => '\u263A',
        UnicodeCategory.Format => '\u200B',
        UnicodeCategory.PrivateUse => '\uE000',
        _ => '\u0378', // unassigned
    };
}
