"""Objects, dictionaries, strings, sorting, generators: what most Python programs spend their time on."""
import sys


class Account:
    def __init__(self, name, balance):
        self.name, self.balance = name, balance

    def pay(self, other, amount):
        moved = min(amount, self.balance)
        self.balance -= moved
        other.balance += moved
        return moved


def work(turn):
    accounts = {f"account-{i}": Account(f"account-{i}", i * 37 % 1000) for i in range(1000)}
    seed, moved = turn + 1, 0
    for _ in range(8000):
        seed = (seed * 1103515245 + 12345) % 2**31
        first, second = seed // 65536 % 1000, seed // 256 % 1000
        moved += accounts[f"account-{first}"].pay(accounts[f"account-{second}"], seed % 50)
    rich = sorted(accounts.values(), key=lambda account: (-account.balance, account.name))
    words = " ".join(account.name.upper() for account in rich).split()
    counts = {}
    for word in words:
        counts[word[-2:]] = counts.get(word[-2:], 0) + len(word)
    return moved, rich[0].name, sum(counts.values())


for turn in range(int(sys.argv[1])):
    answer = work(turn)
print(*answer)
