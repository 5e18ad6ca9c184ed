using System.Runtime.InteropServices;
using Armor.Cli.Hosting;

using var interruption = new Interruption();
// The first Ctrl-C lets the work stop cleanly; a second one ends the process.
Console.CancelKeyPress += (_, signal) => signal.Cancel = interruption.Interrupt();
using PosixSignalRegistration termination = PosixSignalRegistration.Create(PosixSignal.SIGTERM, signal => signal.Cancel = interruption.Stop());
return await ArmorTool.RunAsync(args, Console.Out, Console.Error, interruption.Token, Console.In, interruption);
