/** Tables for people, in columns of spaces. */

/** Lines of equal columns; the first row has the headings. */
export function alignRows(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

export function formatTable(rows: readonly (readonly string[])[]): string {
  return `${alignRows(rows).join('\n')}\n`;
}
