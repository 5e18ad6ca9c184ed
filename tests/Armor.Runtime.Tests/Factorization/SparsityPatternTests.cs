using Armor.Runtime.Factorization;

namespace Armor.Runtime.Tests.Factorization;

public class SparsityPatternTests
{
    [TestCase("2:4", 2, 4, 6)]
    [TestCase("4:8", 4, 8, 70)]
    [TestCase("1:4", 1, 4, 4)]
    [TestCase("6:8", 6, 8, 28)]
    [TestCase("1:2", 1, 2, 2)]
    [TestCase("15:16", 15, 16, 16)]
    [TestCase("8:16", 8, 16, 12870)]
    public void TextAndNumbersAgree(string text, int kept, int group, int masks)
    {
        var pattern = SparsityPattern.Parse(text);
        Assert.That((pattern.Kept, pattern.Group, pattern.MaskCount, pattern.ToString()), Is.EqualTo((kept, group, masks, text)));
        Assert.That(pattern, Is.EqualTo(new SparsityPattern(kept, group)));
        Assert.That(pattern.KeptOf(3 * group), Is.EqualTo(3 * kept));
        Assert.That(() => pattern.KeptOf((3 * group) + 1), Throws.ArgumentException.With.Message.Contains($"multiple of {group}"));
    }

    [Test]
    public void TheDefaultIs24()
        => Assert.That((default(SparsityPattern), SparsityPattern.TwoFour.ToString(), default == new SparsityPattern(4, 8)), Is.EqualTo((new SparsityPattern(2, 4), "2:4", false)));

    [TestCase(null)]
    [TestCase("")]
    [TestCase("2")]
    [TestCase("2:")]
    [TestCase(":4")]
    [TestCase("0:4")]
    [TestCase("4:4")]
    [TestCase("5:4")]
    [TestCase("-2:4")]
    [TestCase("2:17")]
    [TestCase("2:4:8")]
    [TestCase("2 : 4")]
    [TestCase("99999999999:4")]
    public void OtherTextIsRefused(string? text)
    {
        Assert.That(SparsityPattern.TryParse(text, out _), Is.False);
        if (text is not null)
        {
            Assert.That(() => SparsityPattern.Parse(text), Throws.TypeOf<FormatException>().With.Message.Contains($"'{text}'"));
        }
    }

    [TestCase(0, 4)]
    [TestCase(4, 4)]
    [TestCase(1, 17)]
    public void OtherNumbersAreRefused(int kept, int group)
        => Assert.That(() => new SparsityPattern(kept, group), Throws.ArgumentException.With.Message.Contains($"{kept}:{group}"));
}
