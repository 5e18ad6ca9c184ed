using Armor.Onnx.Export;
using Armor.Runtime.Models;

namespace Armor.Onnx.Tests;

public sealed class ExportTests
{
    private readonly TemporaryFolder folder = new();

    [OneTimeTearDown]
    public void Delete() => folder.Dispose();

    [TestCaseSource(typeof(Decoders), nameof(Decoders.Families))]
    public async Task LogitsAreTorchSharpsInThePrefillAndThroughTheCache(ModelConfiguration configuration)
    {
        string name = Guid.NewGuid().ToString("N");
        string model = Decoders.Write(folder.File(name), configuration);
        OnnxExportReport report = await OnnxExporter.ExportAsync(model, folder.File(name + "-onnx"));
        Console.WriteLine(report);
        Assert.That(report.Verification!.Largest, Is.LessThan(1e-3));
    }
}
