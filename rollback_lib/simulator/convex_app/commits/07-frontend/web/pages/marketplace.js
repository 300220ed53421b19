const url = document.querySelector("meta[name=convex-url]").content;
const price = new Intl.NumberFormat("en-AU", { style: "currency", currency: "AUD" });

const answer = await fetch(`${url}/api/query`, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ path: "products:list", args: { category: "supplements" }, format: "json" }),
});
const { value } = await answer.json();
for (const product of value) {
  const item = document.createElement("li");
  item.textContent = `${product.name}, ${price.format(product.priceCents / 100)} with tax`;
  document.querySelector("#products").append(item);
}
