using System.Text;
using Armor.Runtime.Tokenization;
using CsCheck;

namespace Armor.Runtime.Tests.Tokenization;

public sealed class CanonicalFormTests
{
    private static readonly Gen<string> Marked = Gen.OneOf(
        Gen.Char['a', 'z'].Select(character => character.ToString()),
        Gen.Int[0x300, 0x36F].Select(char.ConvertFromUtf32),
        Gen.Int[0xC0, 0x24F].Select(char.ConvertFromUtf32),
        Gen.Int[0x1100, 0x11FF].Select(char.ConvertFromUtf32),
        Gen.Int[0xAC00, 0xD7A3].Select(char.ConvertFromUtf32),
        Gen.Int[0x1D15E, 0x1D1C0].Select(char.ConvertFromUtf32)).Array[0, 8].Select(string.Concat);

    // From Unicode's own NormalizationTest.txt, columns source, NFC, NFD.
    [TestCase("1E0A", "1E0A", "0044 0307")]
    [TestCase("1E0A 0323", "1E0C 0307", "0044 0323 0307")]
    [TestCase("0044 0307 0323", "1E0C 0307", "0044 0323 0307")]
    [TestCase("212B", "00C5", "0041 030A")]
    [TestCase("0958", "0915 093C", "0915 093C")]
    [TestCase("AC00 11A8", "AC01", "1100 1161 11A8")]
    [TestCase("1100 AC00 11A8", "1100 AC01", "1100 1100 1161 11A8")]
    [TestCase("1D15E", "1D157 1D165", "1D157 1D165")]
    [TestCase("2ADC", "2ADD 0338", "2ADD 0338")]
    [TestCase("0061 0315 0300 05AE 0062", "00E0 05AE 0315 0062", "0061 05AE 0300 0315 0062")]
    public void KnownForms(string source, string composed, string decomposed)
    {
        Assert.That(CanonicalForm.Compose(Text(source)), Is.EqualTo(Text(composed)));
        Assert.That(CanonicalForm.Decompose(Text(source)), Is.EqualTo(Text(decomposed)));
    }

    [Test]
    public void FormsAreStableAndEachOthersInverse() => Marked.Sample(text =>
        CanonicalForm.Compose(CanonicalForm.Compose(text)) == CanonicalForm.Compose(text)
        && CanonicalForm.Decompose(CanonicalForm.Compose(text)) == CanonicalForm.Decompose(text)
        && CanonicalForm.Compose(CanonicalForm.Decompose(text)) == CanonicalForm.Compose(text));

    private static string Text(string points) =>
        string.Concat(points.Split(' ').Select(point => new Rune(Convert.ToInt32(point, 16)).ToString()));
}
