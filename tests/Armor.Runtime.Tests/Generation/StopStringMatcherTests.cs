using Armor.Runtime.Generation;
using CsCheck;

namespace Armor.Runtime.Tests.Generation;

public sealed class StopStringMatcherTests
{
    private static readonly Gen<string> AnyText = Gen.String[Gen.Char['a', 'c'], 0, 30];

    [Test]
    public void WhatMayBecomeAStopStringIsHeldBack()
    {
        var matcher = new StopStringMatcher(["\n\nUser:"]);
        Assert.That(matcher.Append("Yes.\n"), Is.EqualTo("Yes."));
        Assert.That(matcher.Append("\n"), Is.Empty);
        Assert.That(matcher.Append("No."), Is.EqualTo("\n\nNo."));
        Assert.That(matcher.Append("\n\nUs"), Is.Empty);
        Assert.That(matcher.IsStopped, Is.False);
        Assert.That(matcher.Append("er: why"), Is.Empty);
        Assert.That(matcher.IsStopped, Is.True);
    }

    [Test]
    public void TheEndReleasesWhatWasHeld()
    {
        var matcher = new StopStringMatcher(["stop"]);
        Assert.That(matcher.Append("we st"), Is.EqualTo("we "));
        Assert.That(matcher.Finish(), Is.EqualTo("st"));
        Assert.That(matcher.Finish(), Is.Empty);
    }

    [Test]
    public void AnyCutGivesTheTextBeforeTheFirstCompleteStopString() => Gen.Select(
        AnyText, Gen.String[Gen.Char['a', 'c'], 1, 4].Array[0, 3], Gen.Int[1, 5].Array[30]).Sample((text, stops, cuts) =>
    {
        // Character by character, by search of everything so far.
        int end = Enumerable.Range(0, text.Length + 1).FirstOrDefault(length => stops.Any(stop => text[..length].EndsWith(stop, StringComparison.Ordinal)), -1);
        string expected = end < 0 ? text : text[..(end - stops.Where(stop => text[..end].EndsWith(stop, StringComparison.Ordinal)).Max(stop => stop.Length))];

        var matcher = new StopStringMatcher(stops);
        string released = string.Empty;
        for (int start = 0, piece = 0; start < text.Length && !matcher.IsStopped; start += cuts[piece++])
        {
            released += matcher.Append(text[start..Math.Min(text.Length, start + cuts[piece])]);
            Assert.That(expected, Does.StartWith(released), "nothing is ever taken back");
        }

        Assert.That(matcher.IsStopped, Is.EqualTo(end >= 0));
        Assert.That(released + (matcher.IsStopped ? string.Empty : matcher.Finish()), Is.EqualTo(expected));
    });
}
