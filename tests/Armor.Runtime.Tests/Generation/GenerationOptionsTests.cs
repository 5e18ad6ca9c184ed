using Armor.Runtime.Generation;

namespace Armor.Runtime.Tests.Generation;

public sealed class GenerationOptionsTests
{
    [Test]
    public void PresetsAndLimitsAreValid()
    {
        Assert.That(GenerationOptions.Greedy.Validate, Throws.Nothing);
        Assert.That(GenerationOptions.Sampled.Validate, Throws.Nothing);
        Assert.That(new GenerationOptions { MaxTokens = 1, Temperature = 0, TopK = 1, TopP = double.Epsilon, Seed = long.MinValue }.Validate, Throws.Nothing);
        Assert.That(
            new GenerationOptions { MinP = 1, RepetitionPenalty = 0.5, RepetitionWindow = 1, StopStrings = ["."], StopTokens = [3] }.Validate, Throws.Nothing);
    }

    [Test]
    public void EveryViolationIsListed()
    {
        var options = new GenerationOptions { MaxTokens = 0, Temperature = -0.5, TopK = 0, TopP = 1.5, MinP = -1, RepetitionPenalty = 0, RepetitionWindow = 0, StopTokens = null!, StopStrings = [""] };
        Assert.That(options.Validate, Throws.ArgumentException.With.Message.EqualTo(
            "MaxTokens must be at least 1; found 0. Temperature must be at least 0 and finite; found -0.5. "
            + "TopK must be at least 1, or null for all; found 0. TopP must be above 0 and at most 1; found 1.5. "
            + "MinP must be from 0 to 1; found -1. RepetitionPenalty must be above 0 and finite; found 0. "
            + "RepetitionWindow must be at least 1, or null for all; found 0. StopTokens must not be null. "
            + "StopStrings must be texts of at least one character."));
        Assert.That(new GenerationOptions { StopStrings = null! }.Validate, Throws.ArgumentException.With.Message.Contains("StopStrings"));
    }

    [TestCase(double.NaN)]
    [TestCase(double.PositiveInfinity)]
    public void NumbersMustBeNumbers(double bad)
    {
        Assert.That(new GenerationOptions { Temperature = bad }.Validate, Throws.ArgumentException);
        Assert.That(new GenerationOptions { TopP = bad }.Validate, Throws.ArgumentException);
        Assert.That(new GenerationOptions { MinP = bad }.Validate, Throws.ArgumentException);
        Assert.That(new GenerationOptions { RepetitionPenalty = bad }.Validate, Throws.ArgumentException);
    }

    [Test]
    public void ListsAreCopied()
    {
        string[] stops = ["."];
        var options = new GenerationOptions { StopStrings = stops };
        stops[0] = "changed";
        Assert.That(options.StopStrings, Is.EqualTo(new[] { "." }));
    }
}
