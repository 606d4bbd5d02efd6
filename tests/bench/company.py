"""The files of a small company, and what a day of work changes in them: always the same for a seed, a scale and a day."""

import random
import shutil
from datetime import date, timedelta

MIB = 1 << 20
BLOCK = 64 << 10
FIRST_DAY = date(2024, 3, 1)

WORDS = """de a o que e do da em um para com não uma os no se na por mais as dos como mas ao ele das à seu sua ou quando muito nos já
eu também só pelo pela até isso ela entre depois sem mesmo aos seus quem nas me esse eles você essa num nem suas meu às minha numa
pelos elas qual nós lhe deles essas esses pelas este dele cliente pedido valor prazo entrega contrato nota fiscal serviço produto
pagamento vencimento fornecedor orçamento proposta reunião obra projeto relatório balanço imposto salário férias estoque compra venda
desconto frete garantia manutenção instalação vistoria aprovação assinatura cópia reais conforme segue anexo referente atenciosamente
favor confirmar recebimento quantidade unidade total parcela boleto transferência conta banco agência endereço telefone responsável
técnico equipe segunda-feira terça-feira quarta-feira janeiro fevereiro março abril maio junho julho agosto setembro outubro""".split()
SYLLABLES = "ba ca do de fi ga lo ma mi no pa per ra re ri são sa ta to tra va ve vi zo lha nha ção ções men mento dor ável".split()
FIRST = "Ana João Maria José Antônia Luís Beatriz Caio Débora Érica Fábio Gonçalo Helena Ígor Júlia Otávio Patrícia Rômulo".split()
LAST = "Silva Souza Araújo Gonçalves Conceição Magalhães Brandão Leitão Assunção Queirós Antunes Péricles Fagundes Sá".split()
CITIES = "São Paulo;Belém;Goiânia;Brasília;Maceió;Vitória;Florianópolis;Cuiabá;Ribeirão Preto;Jundiaí;Niterói;Avaré".split(";")
DEPARTMENTS = "Administração;Clientes;Comercial;Contabilidade;Engenharia;Jurídico;Recursos Humanos;Produção".split(";")
KINDS = "ata;contrato;memória de cálculo;orçamento;ofício;proposta;relatório;requisição;anotações".split(";")
STATES = "aberto faturado enviado entregue cancelado devolução".split()
PAGES = "/ /produtos /produtos/busca /carrinho /api/v1/pedidos /api/v1/estoque /estático/app.js /login /relatórios/vendas".split()
BROWSERS = ["Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/122.0", "okhttp/4.12.0", "curl/8.5.0"]


class Company:
    """Everything below `tree`, with sizes and numbers `scale` times those of the benchmark."""

    def __init__(self, tree, scale=1.0, seed=14):
        self.tree, self.scale, self.seed = tree, scale, seed
        self.documents, self.photos, self.databases = tree / "Documentos", tree / "Fotos", tree / "Banco de dados"
        self.image, self.log = tree / "Máquinas" / "servidor.img", tree / "Logs" / "acesso.log"

    def rng(self, *about):
        """A generator for one purpose, so that a change of one part of the tree leaves the others as they are."""
        return random.Random("/".join(map(str, (self.seed, *about))))

    def number(self, count, least=1):
        return max(least, round(count * self.scale))

    def make(self):
        self.clauses = self.make_clauses()
        for folder in (self.documents, self.photos, self.databases, self.image.parent, self.log.parent):
            folder.mkdir(parents=True)
        self.make_documents()
        for number in range(self.number(120, 24)):
            self.make_photo(self.photos / f"2023-{number % 12 + 1:02} Obra nº {number % 12 * 7 + 3}", number)
        self.make_image()
        self.write_rows(self.dump(0), self.make_rows())
        with open(self.log, "wb") as log:
            log.write(self.log_lines(0, self.number(60 * MIB)))

    def day(self, number):
        """The work of day `number`, from 1 on, done on the tree as the day before left it."""
        self.clauses = self.make_clauses()
        rng = self.rng("day", number)
        documents = sorted(path for path in self.documents.rglob("*") if path.is_file())
        for path in rng.sample(documents, max(1, len(documents) // 100)):
            with open(path, "ab") as document:
                document.write(self.text(rng, rng.randint(40, 800)))
        for path in rng.sample(documents, self.number(50)):
            path.unlink()
        folders = sorted({path.parent for path in self.documents.rglob("*.txt")})
        copied = rng.choice(folders)
        shutil.copytree(copied, copied.with_name(f"{copied.name} - cópia do dia {number}"))
        albums = sorted(path for path in self.photos.iterdir() if path.name != "Recebidas")
        album = rng.choice(albums)
        album.rename(album.with_name(f"{album.name.split(' (')[0]} (revisado no dia {number})"))
        self.make_photo(self.photos / "Recebidas", 100_000 + number)
        self.change_rows(number, rng)
        self.change_image(rng)
        with open(self.log, "ab") as log:
            log.write(self.log_lines(number, self.number(5 * MIB)))

    # Documents

    def make_clauses(self):
        """Two to four words each, used as unevenly as in any language; so many that few come twice within a window of
        gzip."""
        rng = self.rng("clauses")
        words = WORDS + ["".join(rng.choices(SYLLABLES, k=rng.randint(2, 4))) for _ in range(8_000)]
        weights = [1 / (rank + 3) for rank in range(len(words))]
        chosen = iter(rng.choices(words, weights, k=600_000))
        marks = rng.choices([" ", ", ", " ", ".\n", " ", "; ", ". "], k=200_000)
        return [f"{next(chosen)} {next(chosen)} {next(chosen)}{mark}".encode() for mark in marks]

    def text(self, rng, length):
        """At least `length` bytes."""
        parts, done = [], 0
        while done < length:
            some = rng.choices(self.clauses, k=(length - done) // 22 + 1)
            parts += some
            done += sum(map(len, some))
        return b"".join(parts)

    def make_documents(self):
        rng = self.rng("documents")
        folders = []
        for number in range(self.number(400, 8)):
            person = f"{rng.choice(FIRST)} {rng.choice(LAST)} {number}"
            folder = self.documents / rng.choice(DEPARTMENTS) / str(rng.randint(2018, 2024)) / person
            folder.mkdir(parents=True)
            folders.append(folder)
        for number in range(self.number(20_000, 200)):
            name = f"{rng.choice(KINDS)} {number:05} - {rng.choice(CITIES)}.txt"
            size = int(rng.lognormvariate(8.3, 1.0))  # around 4 KiB
            folders[number % len(folders)].joinpath(name).write_bytes(self.text(rng, size))

    def make_photo(self, folder, number):
        rng = self.rng("photo", number)
        folder.mkdir(exist_ok=True)
        noise = rng.randbytes(rng.randint(2 * MIB, 4 * MIB))
        (folder / f"IMG_{number:06}.jpg").write_bytes(b"\xff\xd8\xff\xe0\0\x10JFIF\0" + noise + b"\xff\xd9")

    # The database

    def dump(self, number):
        return self.databases / f"erp {FIRST_DAY + timedelta(days=number)}.sql"

    def make_rows(self):
        rng, rows, size, wanted = self.rng("rows"), [], 0, self.number(160 * MIB)
        while size < wanted:
            some = self.rows(rng, len(rows) + 1, 20_000)
            rows += some
            size += sum(map(len, some))
        return rows[: len(rows) * wanted // size]

    def rows(self, rng, first, count):
        """`count` rows with numbers from `first` on, each a statement on a line."""
        def some(of):
            return rng.choices(of, k=count)

        days = [str(FIRST_DAY - timedelta(days=ago)) for ago in range(1_500)]
        columns = zip(some(FIRST), some(LAST), some(CITIES), some(days), some(STATES), some(self.clauses), some(self.clauses))
        return [
            f"INSERT INTO pedidos VALUES ({first + at},{1_000 + at % 7_919},'{name} {last}','{city}','{day} {at % 24:02}:{at * 7 % 60:02}:{at * 13 % 60:02}',"
            f"{rng.getrandbits(20) / 100:.2f},'{state}','{one.decode().strip()} {two.decode().strip()}','{rng.getrandbits(48):012x}');\n".encode()
            for at, (name, last, city, day, state, one, two) in enumerate(columns)
        ]

    def write_rows(self, path, rows):
        with open(path, "wb") as dump:
            dump.write(f"-- {path.stem}\nCREATE TABLE pedidos (id INT PRIMARY KEY, cliente INT, nome TEXT, cidade TEXT, "
                       "feito TIMESTAMP, valor DECIMAL(12,2), estado TEXT, observação TEXT, chave CHAR(12));\n".encode())
            dump.writelines(rows)
            dump.write(f"-- completed on {path.stem}\n".encode())

    def change_rows(self, number, rng):
        """Makes the dump of the day from yesterday's, and removes the one before."""
        rows = self.dump(number - 1).read_bytes().splitlines(keepends=True)
        rows = [row for row in rows if row.startswith(b"INSERT")]
        changed = rng.sample(range(len(rows)), max(1, len(rows) // 1_000))
        for at, row in zip(changed, self.rows(rng, 1, len(changed))):
            rows[at] = rows[at].split(b",", 1)[0] + b"," + row.split(b",", 1)[1]
        added = max(1, len(rows) // 5_000)
        new = self.rows(rng, 10_000_000 + number * 100_000, added)
        for at, row in sorted(zip(rng.sample(range(len(rows)), added), new), reverse=True):
            rows.insert(at, row)
        self.write_rows(self.dump(number), rows)
        if number > 1:
            self.dump(number - 2).unlink()

    # The disk image and the log

    def make_image(self):
        """Files of a machine as its disk has them: some text, some that do not compress, and zeros, which are written."""
        rng, left = self.rng("image"), self.number(300 * MIB, 4 * MIB) // BLOCK
        with open(self.image, "wb") as image:
            while left:
                count = min(left, rng.randint(1, 64))
                image.write(rng.choices([rng.randbytes, lambda size: self.text(rng, size)[:size], bytes], [4, 4, 2])[0](count * BLOCK))
                left -= count

    def change_image(self, rng):
        blocks = self.image.stat().st_size // BLOCK
        with open(self.image, "r+b") as image:
            for at in rng.sample(range(blocks), min(blocks // 4, self.number(200))):
                image.seek(at * BLOCK)
                image.write(rng.randbytes(BLOCK) if rng.random() < 0.5 else self.text(rng, BLOCK)[:BLOCK])

    def log_lines(self, number, length):
        rng, lines, done = self.rng("log", number), [], 0
        day = (FIRST_DAY + timedelta(days=number)).strftime("%d/%b/%Y")
        while done < length:
            count = 20_000
            columns = zip(rng.choices(range(1, 255), k=count), rng.choices(PAGES, k=count), rng.choices(BROWSERS, k=count),
                          rng.choices([200, 200, 200, 304, 404, 500], k=count))
            base = len(lines) // 8
            some = [
                f"10.0.{host % 7}.{host} - - [{day}:{(base + at // 8) // 3600 % 24:02}:{(base + at // 8) // 60 % 60:02}:{(base + at // 8) % 60:02} "
                f"-0300] \"GET {page}?id={rng.getrandbits(24)} HTTP/1.1\" {code} {rng.getrandbits(16)} \"-\" \"{browser}\"\n".encode()
                for at, (host, page, browser, code) in enumerate(columns)
            ]
            lines += some
            done += sum(map(len, some))
        return b"".join(lines)[:length]
