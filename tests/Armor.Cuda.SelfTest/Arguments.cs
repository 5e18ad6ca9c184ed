namespace Armor.Cuda.SelfTest;

/// <summary>What the program was asked for.</summary>
/// <param name="Device">Which card.</param>
/// <param name="PythonPackages">A site-packages folder with NVIDIA's libraries; null for none.</param>
/// <param name="IsQuick">Fewer shapes and rounds.</param>
/// <param name="OnlyConformance">No measurements.</param>
/// <param name="WithPyTorch">Also measure PyTorch, where python3 has it.</param>
/// <param name="Layers">Of the whole model that is measured; 0 for none.</param>
internal sealed record Arguments(int Device, string? PythonPackages, bool IsQuick, bool OnlyConformance, bool WithPyTorch, int Layers)
{
    public const string Usage = """
        Armor.Cuda.SelfTest [--quick] [--conformance] [--device N] [--python-packages FOLDER] [--no-pytorch] [--layers N]

        Checks the CUDA kernels on this machine's card, then measures them beside cuBLASLt, cuSPARSELt and PyTorch, and prints Markdown. Exit code 0: all
        results right; 1: one is wrong; 2: there is no card to be used.

          --quick            4096×4096 alone, few rounds
          --conformance      check only
          --device N         which card (default 0)
          --python-packages  a site-packages folder with nvidia-* packages (default: those of python3, where it has PyTorch)
          --no-pytorch       do not measure PyTorch
          --layers N         layers of the 7B-shaped model that is measured as a whole (default 32, 14 GB dense; 0 for no model)
        """;

    /// <exception cref="ArgumentException">An argument is unknown or lacks its value.</exception>
    public static Arguments Parse(string[] arguments)
    {
        var result = new Arguments(0, null, false, false, true, 32);
        for (var i = 0; i < arguments.Length; i++)
        {
            result = arguments[i] switch
            {
                "--quick" => result with { IsQuick = true },
                "--conformance" => result with { OnlyConformance = true },
                "--no-pytorch" => result with { WithPyTorch = false },
                "--device" when i + 1 < arguments.Length && int.TryParse(arguments[i + 1], out var device) => result with { Device = Skip(ref i, device) },
                "--layers" when i + 1 < arguments.Length && int.TryParse(arguments[i + 1], out var layers) && layers >= 0 => result with { Layers = Skip(ref i, layers) },
                "--python-packages" when i + 1 < arguments.Length => result with { PythonPackages = Skip(ref i, arguments[i + 1]) },
                _ => throw new ArgumentException($"Unknown or incomplete argument {arguments[i]}."),
            };
        }

        return result;
    }

    private static T Skip<T>(ref int index, T value)
    {
        index++;
        return value;
    }
}
