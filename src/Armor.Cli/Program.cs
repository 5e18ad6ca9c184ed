using System.Runtime.InteropServices;
using Armor.Cli.Hosting;

using var cancellation = new CancellationTokenSource();
Console.CancelKeyPress += (_, signal) =>
{
    // The first Ctrl-C lets the work stop cleanly; a second one ends the process.
    signal.Cancel = !cancellation.IsCancellationRequested;
    cancellation.Cancel();
};
using PosixSignalRegistration termination = PosixSignalRegistration.Create(PosixSignal.SIGTERM, signal =>
{
    signal.Cancel = !cancellation.IsCancellationRequested;
    cancellation.Cancel();
});
return await ArmorTool.RunAsync(args, Console.Out, Console.Error, cancellation.Token);
