using Armor.Cli.Commands;

namespace Armor.Cli.Tests.Commands;

public sealed class TextOptionsTests
{
    [TestCase("<|endoftext|>", "<|endoftext|>")]
    [TestCase(@"\n\n", "\n\n")]
    [TestCase(@"\r\n\t", "\r\n\t")]
    [TestCase(@"a\\n", @"a\n")]
    [TestCase(@"\u2028x", "\u2028x")]
    [TestCase("", "")]
    public void EscapesAreUnderstood(string written, string meant)
    {
        Assert.That(TextOptions.TryUnescape(written, out string result), Is.True);
        Assert.That(result, Is.EqualTo(meant));
    }

    [TestCase(@"\")]
    [TestCase(@"a\q")]
    [TestCase(@"\u12")]
    [TestCase(@"\u12g4")]
    public void UnknownEscapesAreRefused(string written) => Assert.That(TextOptions.TryUnescape(written, out _), Is.False);
}
