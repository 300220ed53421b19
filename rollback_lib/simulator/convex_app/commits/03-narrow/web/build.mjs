// Fills the address of the backend into the pages and puts them into dist/.
import { cpSync, readFileSync, writeFileSync } from "node:fs";

const pages = ["index.html", "marketplace.html", "booking.html"];

cpSync("web/pages", "dist", { recursive: true });
for (const page of pages) {
  const text = readFileSync(`dist/${page}`, "utf8");
  writeFileSync(`dist/${page}`, text.replaceAll("%CONVEX_URL%", process.env.CONVEX_URL ?? ""));
}
console.log(`${pages.length} pages built for ${process.env.CONVEX_URL ?? "no backend"}`);
