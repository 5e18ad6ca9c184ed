using System.Diagnostics;

namespace Armor.Cuda.SelfTest;

/// <summary>PyTorch's own semi-structured tensors on the same card, where python3 has it.</summary>
/// <param name="Packages">Its site-packages folder, in which NVIDIA's libraries lie.</param>
internal sealed record PyTorch(string Packages)
{
    private const string Probe = "import torch, os; print(os.path.dirname(os.path.dirname(torch.__file__)))";

    /// <summary>Null where there is no python3, or no PyTorch in it.</summary>
    public static PyTorch? Find()
    {
        try
        {
            var (status, output, _) = Python(120, "-c", Probe);
            return status == 0 && Directory.Exists(output.Trim()) ? new PyTorch(output.Trim()) : null;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return null;
        }
    }

    /// <summary>Runs the comparison and prints what it prints.</summary>
    public void Measure(bool isQuick, int device, Aims aims)
    {
        var script = Path.Combine(Path.GetTempPath(), $"armor-{Guid.NewGuid():N}.py");
        try
        {
            using (var stream = typeof(PyTorch).Assembly.GetManifestResourceStream("compare_pytorch.py")!)
            using (var file = File.Create(script))
            {
                stream.CopyTo(file);
            }

            var (status, output, errors) = Python(600, script, isQuick ? "quick" : "full", $"{device}");
            Console.WriteLine(output);
            aims.AddPyTorch(output);
            if (status != 0)
            {
                Console.WriteLine($"PyTorch gave {status}: {errors.Trim()}");
            }
        }
        finally
        {
            File.Delete(script);
        }
    }

    private static (int Status, string Output, string Errors) Python(int seconds, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo("python3", arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var output = process.StandardOutput.ReadToEndAsync();
        var errors = process.StandardError.ReadToEndAsync();
        if (!process.WaitForExit(TimeSpan.FromSeconds(seconds)))
        {
            process.Kill(entireProcessTree: true);
            return (-1, output.Result, $"longer than {seconds} s");
        }

        return (process.ExitCode, output.Result, errors.Result);
    }
}
