using Armor.Cuda;
using Armor.Cuda.SelfTest;

Arguments arguments;
try
{
    arguments = Arguments.Parse(args);
}
catch (ArgumentException exception)
{
    Console.Error.WriteLine(exception.Message);
    Console.Error.WriteLine(Arguments.Usage);
    return 2;
}

var python = PyTorch.Find();
using var backend = new CudaBackend(new CudaBackendOptions { Device = arguments.Device, PythonPackages = arguments.PythonPackages ?? python?.Packages });
Console.WriteLine("# Armor.Cuda on this machine");
Console.WriteLine();
foreach (var library in backend.Libraries)
{
    Console.WriteLine($"- {library}");
}

if (backend.Unavailable is { } reason)
{
    Console.WriteLine();
    Console.WriteLine($"Nothing was checked and nothing was measured. {reason}");
    return 2;
}

var device = backend.Device!;
Console.WriteLine(FormattableString.Invariant(
    $"- {device.Name}, compute capability {device.Capability / 10}.{device.Capability % 10}, {device.Multiprocessors} multiprocessors, {device.MemoryBytes / 1e9:0.0} GB; the driver runs CUDA {device.DriverVersion}"));
Console.WriteLine($"- {DateTime.UtcNow:yyyy-MM-dd}, Armor.Cuda {typeof(CudaBackend).Assembly.GetName().Version}");
Console.WriteLine();

var isRight = new Conformance(backend, Console.Out).Run(arguments.IsQuick) & new ModelConformance(backend, Console.Out).Run();
if (!arguments.OnlyConformance)
{
    var aims = new Aims();

    // The model first: it is what all of this is for, should time run out.
    isRight &= arguments.Layers == 0 || new WholeModel(backend, arguments.Layers, Console.Out, aims).Run();
    new Benchmarks(backend, arguments.IsQuick, Console.Out, aims).Run();
    if (arguments.WithPyTorch && python is not null)
    {
        python.Measure(arguments.IsQuick, arguments.Device, aims);
    }

    aims.Print(Console.Out);
}

return isRight ? 0 : 1;
