using Spectre.Console;

namespace Armor.Cli.Hosting;

/// <summary>The look that all the tool's tables share.</summary>
internal static class Tables
{
    /// <summary>A table whose first column holds names, on the left, and the others numbers, on the right.</summary>
    internal static Table OfNumbers(params string[] columns)
    {
        Table table = new Table().Border(TableBorder.Rounded).AddColumns(columns);
        foreach (TableColumn column in table.Columns.Skip(1))
        {
            column.RightAligned();
        }

        return table;
    }
}
