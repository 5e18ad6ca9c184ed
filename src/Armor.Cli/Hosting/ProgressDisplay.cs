using System.Diagnostics;
using System.Globalization;
using Spectre.Console;

namespace Armor.Cli.Hosting;

/// <summary>Progress on standard error: a bar on a terminal, else a line every few seconds.</summary>
internal sealed class ProgressDisplay(IAnsiConsole console, TextWriter error)
{
    private static readonly TimeSpan LineInterval = TimeSpan.FromSeconds(10);

    internal async Task<T> RunAsync<T>(string title, Func<IProgress<Step>, Task<T>> work)
    {
        if (!console.Profile.Capabilities.Interactive || !console.Profile.Capabilities.Ansi)
        {
            return await work(new Lines(title, error)).ConfigureAwait(false);
        }

        Progress progress = console.Progress().AutoClear(true).HideCompleted(false).Columns(
            new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn { Width = 30 }, new PercentageColumn(), new SpinnerColumn());
        return await progress.StartAsync(context => work(new Bar(title, context.AddTask(Markup.Escape(title), maxValue: 1)))).ConfigureAwait(false);
    }

    private sealed class Bar(string title, ProgressTask task) : IProgress<Step>
    {
        public void Report(Step value)
        {
            task.Value = value.Fraction;
            string left = value.Left.Length == 0 ? string.Empty : $" [blue]{value.Left}[/]";
            task.Description = $"{Markup.Escape(title)} [grey]{Markup.Escape(value.Detail)}[/]{left}";
        }
    }

    private sealed class Lines(string title, TextWriter error) : IProgress<Step>
    {
        private readonly Lock guard = new();
        private readonly Stopwatch sinceLine = Stopwatch.StartNew();

        public void Report(Step value)
        {
            lock (guard)
            {
                if (sinceLine.Elapsed < LineInterval)
                {
                    return;
                }

                sinceLine.Restart();
                string left = value.Left.Length == 0 ? string.Empty : ", " + value.Left;
                error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{title}: {value.Fraction * 100:0} %, {value.Detail}{left}"));
            }
        }
    }
}
